"""What was set for pip reaches uv, and its passwords reach no log."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_uv import Machine
from machine_scripts import machine

pytestmark = pytest.mark.unit

pip_config = machine("pip_config")
commands = machine("commands")


def test_pip_listing_is_read_with_pips_precedence() -> None:
    listing = """
Python 3.11.7
global.index-url='https://mirror.example/simple'
global.timeout='15'
install.timeout='60'
global.find-links='\\n/a\\n/b'
:env:.index-url='https://other.example/simple'
:env:.default-timeout='180'
freeze.timeout='10'
"""
    assert pip_config.parse(listing) == {
        "index-url": "https://other.example/simple",
        "timeout": "60",
        "find-links": "\n/a\n/b",
    }


def test_real_pip_says_what_its_environment_sets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://one.example/simple https://two.example")
    (tmp_path / "pip.conf").write_text("[global]\nproxy = http://proxy.example:3128\n")
    found = pip_config.parse(pip_config.read(tmp_path))
    assert found["proxy"] == "http://proxy.example:3128"
    assert found["extra-index-url"] == "https://one.example/simple https://two.example"


def test_pips_files_are_read_where_no_python_has_pip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/pip.conf").write_text("[global]\nindex-url = https://m.example/100%25\n")
    found = pip_config.parse(pip_config.read(tmp_path, pythons=["no-such-python"]))
    assert found["find-links"] == "/wheels"
    assert found["index-url"] == "https://m.example/100%25"


def test_every_setting_reaches_uv() -> None:
    pip = {
        "index-url": "https://a.example",
        "find-links": "\n/a\nhttps://b.example/x,y",
        "cert": "/ca.pem",
        "client-cert": "/me.pem",
        "proxy": "proxy.example:3128",
        "trusted-host": "a.example\nb.example",
        "timeout": "90.0",
        "keyring-provider": "import",
        "no-index": "true",
    }
    assert pip_config.for_uv(pip, {}) == {
        "UV_DEFAULT_INDEX": "https://a.example",
        "UV_FIND_LINKS": "/a,https://b.example/x%2Cy",
        "SSL_CERT_FILE": "/ca.pem",
        "SSL_CLIENT_CERT": "/me.pem",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
        "UV_INSECURE_HOST": "a.example b.example",
        "UV_HTTP_TIMEOUT": "90",
        "UV_KEYRING_PROVIDER": "subprocess",
        "UV_NO_INDEX": "true",
    }


def test_false_and_nonsense_settings_are_left_out() -> None:
    assert pip_config.for_uv({"no-index": "false", "timeout": "soon"}, {}) == {}


def test_several_indexes_are_searched_as_pip_searches_them() -> None:
    added = pip_config.for_uv({"extra-index-url": "https://a.example\nhttps://b.example"}, {})
    assert added == {
        "UV_INDEX": "https://a.example https://b.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert "UV_INDEX_STRATEGY" not in pip_config.for_uv({"index-url": "https://a.example"}, {})


@pytest.mark.parametrize(
    ("env", "files"),
    [
        ({"UV_DEFAULT_INDEX": "https://mine.example"}, set()),
        ({"UV_INDEX_URL": "https://mine.example"}, set()),
        ({}, {"index-url"}),
        ({}, {"default-index"}),
    ],
)
def test_what_was_set_for_uv_wins(env: dict[str, str], files: set[str]) -> None:
    assert pip_config.for_uv({"index-url": "https://a.example"}, env, files) == {}


def test_uvs_own_files_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nurl = "https://a.example"\ndefault = true\n'
        '[tool.uv.pip]\ntorch-backend = "cu126"\n'
    )
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    (tmp_path / "config/uv").mkdir(parents=True)
    (tmp_path / "config/uv/uv.toml").write_text('find-links = ["/wheels"]\n')
    found = pip_config.uv_file_settings(tmp_path, home)
    assert {"index", "default-index", "torch-backend", "find-links"} <= found
    assert pip_config.uv_file_settings(tmp_path, home | {"UV_NO_CONFIG": "1"}) == set()


def test_pips_mirror_reaches_uv_and_its_password_reaches_no_log(
    box: Machine, project: Path
) -> None:
    secret = "https://ada:s3cr3t@mirror.example/simple"
    stderr = box.run(
        project, PIP_INDEX_URL=secret, FAKE_UV_FAILS=f"error: no such {secret}", code=1
    )
    (_, env) = box.calls()[0]
    assert env["UV_DEFAULT_INDEX"] == secret
    written = "".join(path.read_text("utf-8") for path in (project / ".ml-template").glob("*.*"))
    assert "s3cr3t" not in stderr + written
    assert "https://***@mirror.example/simple" in written


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at https://u:p@h.example/x and", "at https://***@h.example/x and"),
        ("https://token@h.example", "https://***@h.example"),
        ("https://u:p@w@h.example/a", "https://***@h.example/a"),
        ("'http://u:p@h', me@example.org", "'http://***@h', me@example.org"),
        ("https://h.example/a@b", "https://h.example/a@b"),
        ("'https://u:p/a/s@h.example/a'", "'https://***@h.example/a'"),
        ("https://u:1/2@h.example", "https://***@h.example"),
    ],
)
def test_credentials_are_masked(text: str, masked: str) -> None:
    assert commands.mask(text) == masked
