"""What the set-up commands know of this machine; standard library only."""
