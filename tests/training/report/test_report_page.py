import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from training.commands.report import command
from training.report import ReportError, markdown_tables, write_report

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Reader(HTMLParser):
    """Collects what a browser would load, ids, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: Counter[str] = Counter()
        self.labels: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [tag] * (tag not in VOID)
        found = dict(attrs)
        self.ids.update([found["id"]] if "id" in found else [])  # type: ignore[list-item]
        loaded = [found.get(key) for key in ("src", "href", "xlink:href", "srcset", "data")]
        self.loads += [link for link in loaded if link and not link.startswith(("#", "data:"))]
        self.labels += [found["aria-label"]] if found.get("role") == "img" and found.get("aria-label") else []  # type: ignore[list-item]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: Path) -> Reader:
    reader = Reader()
    reader.feed(html.read_text())
    return reader


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, whole_result: dict[str, Any]) -> Any:
    return write_report(whole_result, tmp_path_factory.mktemp("report"))


def test_the_page_loads_nothing(written: Any) -> None:
    text = written.html.read_text()
    assert read(written.html).loads == []
    assert re.findall(r"@import|url\((?!#)|<script|<link|<iframe", text) == []


def test_the_page_is_well_formed_and_no_id_occurs_twice(written: Any) -> None:
    reader = read(written.html)
    assert reader.open == []
    assert [name for name, times in reader.ids.items() if times > 1] == []


def test_every_pool_and_every_policy_appears(written: Any, whole_result: dict[str, Any]) -> None:
    shown = {text.removesuffix(" *") for text in read(written.html).text}
    for name, pool in whole_result["pools"].items():
        assert {name, *pool["policies"]} <= shown


def test_split_encoder_data_and_command_stand_at_the_top(written: Any, whole_result: dict[str, Any]) -> None:
    head = "".join(read(written.html).text).split("At a glance")[0]
    assert all(whole_result[key] in head for key in ("split", "encoder", "data", "command"))


def test_each_picture_is_a_png_and_is_described_in_the_page(written: Any) -> None:
    assert len(written.pictures) == 14
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in written.pictures)
    labels = read(written.html).labels
    assert len(labels) == 14
    assert min(map(len, labels)) > 40


def test_colours_of_pictures_follow_the_readers_theme(written: Any) -> None:
    pictures = "".join(re.findall(r"<svg.*?</svg>", written.html.read_text(), re.DOTALL))
    fixed = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", pictures))
    assert fixed == set()
    assert "var(--series-1)" in pictures


def test_the_same_result_gives_the_same_bytes(tmp_path: Path, whole_result: dict[str, Any]) -> None:
    small = whole_result | {"pools": {"tiny_pool": whole_result["pools"]["tiny_pool"]}}
    first, second = (write_report(small, tmp_path / name) for name in ("a", "b"))
    assert first.html.read_bytes() == second.html.read_bytes()
    assert [file.read_bytes() for file in first.pictures] == [file.read_bytes() for file in second.pictures]


def test_nulls_and_absent_keys_leave_gaps_and_no_error(tmp_path: Path, result: dict[str, Any]) -> None:
    pool = result["pools"]["tiny_pool"]
    pool["policies"] = {
        "default": dict.fromkeys(pool["policies"]["default"]) | {"curve": [[0.0, None, 0.5]], "calibration": [None]},
        "knn": {"save": {"97": None}, "by_domain": {"d": {"n": 0}}},
        "global_means": {},
    }
    pool["arms"][0]["usd"] = None
    files = write_report({"format": 1, "pools": {"<empty> & co": {"policies": {}}, "p": pool}}, tmp_path)
    text = files.html.read_text()
    assert "not reached" in text
    assert "not recorded" in text
    assert "&lt;empty&gt; &amp; co" in text
    assert "None" not in text.replace('fill="None"', "")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"format": 2, "pools": {}}, "format"), ({}, "pools"), ({"pools": {"p": {"policies": []}}}, "pools.p.policies")],
)
def test_what_is_no_result_is_refused_by_key(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        write_report(wrong, tmp_path)


def test_markdown_has_a_row_for_each_policy(whole_result: dict[str, Any]) -> None:
    text = markdown_tables(whole_result)
    for name in whole_result["pools"]["mmlu_pro_7"]["policies"]:
        assert re.search(rf"^\| {name}( \*)? \|", text, re.MULTILINE)
    widths = {line.count("|") for line in text.split("### mmlu_pro_7")[1].split("\n\n")[2].splitlines()}
    assert len(widths) == 1


def test_the_command_renders_a_run_folder_again(tmp_path: Path, result: dict[str, Any]) -> None:
    result["pools"] = {"q": {"policies": {}, "arms": []}}
    (tmp_path / "result.json").write_bytes(orjson.dumps(result))
    done = CliRunner().invoke(command, [str(tmp_path), "--out", str(tmp_path / "page")])
    assert done.exit_code == 0
    assert "On q no policy was run." in (tmp_path / "page" / "report.html").read_text()


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"format": 7, "pools": {}}'])
def test_the_command_names_the_file_or_key_that_is_wrong(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "result.json").write_bytes(content)
    done = CliRunner().invoke(command, [str(tmp_path)])
    assert done.exit_code == 1
    assert "format" in done.output if content and b"7" in content else "result.json" in done.output


def test_numbers_of_arms_keep_clear_of_the_lines(whole_result: dict[str, Any]) -> None:
    from training.report.drawing import look
    from training.report.frontier import frontier
    from training.report.result import pools

    with look():
        made = frontier(next(pools(whole_result))).figure
        made.draw_without_rendering()
        axes = made.axes[0]
        for label in axes.texts:
            box = label.get_window_extent()
            for line in axes.get_lines():
                inside = [box.contains(x, y) for x, y in axes.transData.transform(line.get_xydata())]
                assert not any(inside), label.get_text()
