"""config.properties' format, against hand-derived values, its own inverse, and Java itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_wrapper.torchserve.properties import ConfigError, derive, parse, read

JAVA = """
import java.nio.file.*;
import java.util.*;

public class Load {
    public static void main(String[] files) throws Exception {
        for (String file : files) {
            Properties properties = new Properties();
            try (java.io.InputStream stream = Files.newInputStream(Paths.get(file))) {
                properties.load(stream);
            } catch (IllegalArgumentException e) {
                System.out.println("refused");
                continue;
            }
            StringBuilder line = new StringBuilder("ok");
            for (String key : new TreeSet<>(properties.stringPropertyNames())) {
                line.append(' ');
                for (char c : key.toCharArray()) line.append((int) c).append(',');
                line.append('=');
                for (char c : properties.getProperty(key).toCharArray()) line.append((int) c).append(',');
            }
            System.out.println(line);
        }
    }
}
"""


def values(text: str) -> Dict[str, str]:
    return {key: entry.value for key, entry in parse(text, "x").items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("a:1", {"a": "1"}),
        ("a 1", {"a": "1"}),
        ("  a \t= \t1  ", {"a": "1  "}),
        ("# c\n! c\n\na=1", {"a": "1"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=1\\\n   2", {"a": "12"}),
        ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
        ("a=x # no comment", {"a": "x # no comment"}),
        ("a", {"a": ""}),
        ("a==1", {"a": "=1"}),
        ("a\\=b=1", {"a=b": "1"}),
        ("a=\\u00e9\\t", {"a": "é\t"}),
        ("a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=1\\", {"a": "1"}),
        ("a=1\\\n# joined", {"a": "1# joined"}),
        ("", {}),
    ],
)
def test_reads_as_java_does(text: str, expected: Dict[str, str]) -> None:
    assert values(text) == expected


def test_lines_are_counted_where_they_begin() -> None:
    entries = parse("# one\na=1\\\n2\n\nb=3", "x")
    assert {key: entry.line for key, entry in entries.items()} == {"a": 2, "b": 5}


def test_malformed_escape_names_file_and_line() -> None:
    with pytest.raises(ConfigError, match=r"there\.properties, line 2: .*four hexadecimal digits"):
        parse("a=1\nb=\\u12", "there.properties")


def test_absent_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*CONFIG_PATH"):
        read(tmp_path / "config.properties")


KEYS = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.dictionaries(KEYS, TEXTS, max_size=4), st.sampled_from(["", "x=0\n", "x=1\\", "# c", "x=\\\n"]))
def test_what_is_derived_is_read_back(overrides: Dict[str, str], text: str) -> None:
    assert {k: v for k, v in values(derive(text, overrides)).items() if k in overrides} == overrides


@given(st.text("ab=:# !\\\n\r\tu0\f", max_size=40))
def test_any_text_is_read_or_refused_with_the_line(text: str) -> None:
    lines = text.count("\n") + text.count("\r") + 1
    try:
        told = [entry.line for entry in parse(text, "x").values()]
    except ConfigError as error:
        told = [int(str(error).split("x, line ")[1].split(":")[0])]
    assert all(1 <= line <= lines for line in told)


def samples() -> List[str]:
    """Some hundred texts around everything that has a meaning, by a fixed rule."""
    alphabet = "ab=: \t#!\\\n\ru0041é\f"
    state, texts = 1, []
    for length in range(400):
        text = ""
        for _ in range(4 + length % 24):
            state = (state * 48271) % 2147483647
            text += alphabet[state % len(alphabet)]
        texts.append(text)
    return texts


def test_agrees_with_java(tmp_path: Path) -> None:
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("needs a JDK: java and javac on the PATH")
    (tmp_path / "Load.java").write_text(JAVA)
    for number, text in enumerate(samples()):
        (tmp_path / f"{number:03}").write_bytes(text.encode("latin-1"))
    files = [str(tmp_path / f"{number:03}") for number in range(len(samples()))]
    ran = subprocess.run([java, str(tmp_path / "Load.java"), *files], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [told(text) for text in samples()]


def told(text: str) -> str:
    """What the Java program prints for a text that this package reads."""
    try:
        found = values(text)
    except ConfigError:
        return "refused"

    def codes(word: str) -> str:
        return "".join(f"{ord(c)}," for c in word)

    return " ".join(["ok", *(f"{codes(key)}={codes(found[key])}" for key in sorted(found))])
