"""What is wrong with files and their classes, whatever the files hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broken_files import Broken, Row, broken_files, write_rows

ROWS = 16
TWO = r"rows\.jsonl:17: .*; 1 more row cannot be used: .*rows\.jsonl:18"


@dataclass(frozen=True)
class Media:
    """One kind of file: its column, its suffix, how to make a good one, and bad ones by name."""

    column: str
    suffix: str
    make: Callable[[int], bytes]
    """A file that differs from those of other numbers."""
    bad: Mapping[str, bytes]

    def row(self, name: str, label: object = "a") -> Row:
        """A row that names the file `name`; `.ext` in it stands for the suffix."""
        return {self.column: name.replace(".ext", self.suffix), "label": label}

    @property
    def good(self) -> list[Row]:
        """Rows of two classes without a fault."""
        return [self.row(f"{i}.ext", "ab"[i % 2]) for i in range(ROWS)]

    def beside(self, *bad: Row, good: list[Row] | None = None) -> Callable[[Path], Path]:
        """A table with these rows at its end, beside the files."""

        def make(folder: Path) -> Path:
            self._write(folder)
            rows = self.good if good is None else good
            return write_rows(folder / "rows.jsonl", [*rows, *bad])

        return make

    def file(self, case: str, says: str) -> Broken:
        """A row whose file is the bad one `case`."""
        return Broken(f"{self.column} {case}", self.beside(self.row(f"{case}.ext")), says)

    def _write(self, folder: Path) -> None:
        for i in range(ROWS):
            (folder / f"{i}{self.suffix}").write_bytes(self.make(i))
        for name, content in self.bad.items():
            (folder / f"{name}{self.suffix}").write_bytes(content)
        (folder / f"folder{self.suffix}").mkdir()

    def _class_folders(self, *names: str) -> Callable[[Path], Path]:
        """A folder for each class; one that is called `empty` holds nothing."""

        def make(folder: Path) -> Path:
            for number, name in enumerate(names):
                (folder / "classes" / name).mkdir(parents=True)
                for i in range(0 if name == "empty" else 4):
                    path = folder / "classes" / name / f"{i}{self.suffix}"
                    path.write_bytes(self.make(10 * number + i))
            return folder / "classes"

        return make

    def _with_evaluation(self, *rows: Row) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            self._write(folder)
            write_rows(folder / "eval.jsonl", rows)
            return write_rows(folder / "rows.jsonl", self.good)

        return make

    def broken(self) -> list[Broken]:
        """Every fault that does not depend on what the files hold."""
        row, beside, folders = self.row, self.beside, self._class_folders
        no_label = "`label` is empty or no class name"
        return [
            *broken_files(self.good),
            Broken("no file column", beside({"label": "a"}), f"no column `{self.column}`"),
            Broken("no label column", beside({self.column: "0"}), "no column `label`"),
            Broken("file not there", beside(row("none.ext")), "cannot be read: No such"),
            Broken("file outside", beside(row("../none.ext")), "cannot be read: No such"),
            Broken("file a folder", beside(row("folder.ext")), "cannot be read: Is a"),
            Broken("an address", beside(row("https://a.b/c")), "is an address; download"),
            Broken("a path of zero bytes", beside(row("a\0")), "holds a zero byte"),
            Broken("base64 broken", beside(row("data:;base64,@")), "is no base64"),
            Broken("no path", beside(row("")), f"`{self.column}` is empty or neither"),
            Broken("label empty", beside(row("0.ext", "")), no_label),
            Broken("label a list", beside(row("0.ext", ["a"])), no_label),
            Broken("class without files", folders("a", "b", "empty"), "empty holds no"),
            Broken("folders of parts", folders("train", "val"), "no classes; set data.tr"),
            Broken("one class", folders("a"), "only the class `a`"),
            Broken(
                "only repeats",
                beside(good=self.good[:1] * 9),
                "too few different|only the class",
            ),
            Broken(
                "class unseen in training",
                self._with_evaluation(row("0.ext", "other")),
                r"eval\.jsonl:1: class `other` never occurs in training",
                ("--data.eval", "{folder}/eval.jsonl"),
                only_training=True,
            ),
            Broken("two bad rows", beside(row("none.ext"), {"label": "a"}), TWO),
        ]
