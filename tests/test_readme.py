"""The README's Python runs as it stands; its set-up commands are run by the continuous integration (.ci/run)."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_python_blocks(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_there_are_two_set_up_commands_and_they_name_what_exists():
    text = README.read_text(encoding="utf-8")
    commands = re.findall(r"^```sh\n(.*?)\n^```", text, re.M | re.S)
    assert len(commands) == 2 and all("pip install" in command for command in commands)
    for path in re.findall(r"examples/\w+\.\w+", text):
        assert (README.parent / path).is_file()


def test_pictures_are_there_small_and_come_with_words():
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", README.read_text(encoding="utf-8"))
    assert pictures
    for words, path in pictures:
        content = (README.parent / path).read_bytes()
        assert words and content.startswith(b"\x89PNG") and len(content) < 10_000
