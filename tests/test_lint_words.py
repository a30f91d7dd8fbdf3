"""The wording check of `make lint` refuses fragments and lets sentences pass."""

import subprocess
import sys
from pathlib import Path

CHECK = Path(__file__).parent.parent / ".ci" / "check_words.py"

REFUSED = '''"""What the module does."""

RATE = 1.0  # of the first member
# noqa: E741  # in seconds
# per step, over
# two lines
SIZE = 2  # Of one group.


class Member:
    """Of one group."""

    def size(self):
        """The number of members."""

    def mean(self):
        """Mean of the members."""

    def test(self):
        """(member, batch) from (batch, member)."""


def test_members():
    """Nothing is lost."""
'''

ACCEPTED = '''"""Members of a group."""

RATE = 1.0  # share of the first member, in seconds
# The second line of a comment may begin
# with any word.


class Member:
    """A member of one group."""

    @property
    def size(self):
        """Number of members."""

    def mean(self):
        """Return the mean.

        Of these lines only the first is checked.
        """


def test_members():
    """The members are kept."""
    text = "# of no comment"
'''


def refused_lines(path: Path) -> list[int]:
    """Return the numbers of the lines that the check refuses, and check its exit code."""
    done = subprocess.run([sys.executable, str(CHECK), str(path)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    findings = [line for line in done.stdout.splitlines() if line.startswith(f"{path}:")]
    assert done.returncode == (1 if findings else 0)
    return [int(line.removeprefix(f"{path}:").split(":")[0]) for line in findings]


def test_fragments_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(REFUSED)
    assert refused_lines(tmp_path / "bad.py") == [1, 3, 4, 7, 11, 14, 17, 20, 24]


def test_sentences_and_noun_phrases_pass(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(ACCEPTED)
    assert refused_lines(tmp_path / "good.py") == []


def test_a_folder_is_checked_once_although_a_link_shows_it_twice(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "bad.py").write_text("# of one line\n")
    (tmp_path / "link").symlink_to(folder)
    command = [sys.executable, str(CHECK), "sources", "link"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.count("bad.py") == 1
