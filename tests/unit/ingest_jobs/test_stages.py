"""Files become passages that stand alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from ingest_jobs.readers import Section, read_sections

from ingest_jobs.dataset import Dataset, SentenceRule, TableRule, fingerprint, load_dataset, source_files
from ingest_jobs.stages import MAX_CHUNK_WORDS, chunks_of_file, normalise, split_section
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit

SAMPLE = Path(__file__).resolve().parents[3] / "ingest_jobs" / "sample_data"
PRODUCTS = Dataset(
    tables={
        "p.csv": TableRule(
            title="{name}",
            sentences=(
                SentenceRule(say="The {name} costs ${price}."),
                SentenceRule(column="stock", equals="0", say="It is out of stock.", otherwise="It is in stock."),
            ),
        )
    }
)


def test_markdown_is_cut_at_headings_and_freed_of_marks() -> None:
    text = "# Shipping\n\n## Costs\nIt costs **$5**, see [prices](/p).\n\n- Free over $75.\n"
    text += "\n## Times\nIt takes `3` days.\n"
    assert read_sections("faq/ship.md", text, Dataset()) == [
        Section("Shipping: Costs", "It costs $5, see prices. Free over $75.", "Costs"),
        Section("Shipping: Times", "It takes 3 days.", "Times"),
    ]


def test_html_gives_its_text_without_scripts_and_navigation() -> None:
    page = (
        "<head><title>x</title></head><nav>Menu</nav><h1>Privacy</h1><script>alert(1)</script>"
        "<h2>Data</h2><p>We keep <b>little</b> &amp; short.</p><footer>f</footer>"
    )
    assert read_sections("p.html", page, Dataset()) == [Section("Privacy: Data", "We keep little & short.", "Data")]


def test_table_rows_become_sentences() -> None:
    sections = read_sections("p.csv", "name,price,stock\nTent,249,0\nBoots,99,4\n", PRODUCTS)
    assert [s.text for s in sections] == [
        "The Tent costs $249. It is out of stock.",
        "The Boots costs $99. It is in stock.",
    ]
    assert [s.title for s in sections] == ["Tent", "Boots"]


def test_records_of_one_name_stay_two() -> None:
    sections = read_sections("p.csv", "name,price,stock\nTent,1,0\nTent,2,0\n", PRODUCTS)
    assert len({s.anchor for s in sections}) == 2


def test_table_without_a_rule_reads_column_by_column() -> None:
    sections = read_sections("x.jsonl", '{"name": "Tent", "net_weight": "2 kg", "note": ""}\n', Dataset())
    assert sections[0].text == "The name of Tent is Tent. The net weight of Tent is 2 kg."


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "name,stock\nTent,0\n", r"p.csv, row 1: no column 'price'"),
        ("o.jsonl", '{"a": 1}\n{oops\n', r"o.jsonl, line 2: not JSON"),
    ],
)
def test_malformed_file_is_named_with_its_line(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_sections(name, text, PRODUCTS)


def test_long_section_is_cut_between_sentences() -> None:
    text = " ".join(f"Sentence number {n} has exactly seven words." for n in range(30))
    pieces = list(split_section(Section("t", text, "")))
    assert " ".join(pieces) == text
    assert all(len(piece.split()) <= MAX_CHUNK_WORDS and piece.endswith(".") for piece in pieces)


def test_endless_sentence_is_cut_at_words() -> None:
    text = " ".join(["word"] * (2 * MAX_CHUNK_WORDS + 3))
    assert [len(p.split()) for p in split_section(Section("t", text, ""))] == [MAX_CHUNK_WORDS, MAX_CHUNK_WORDS, 3]


def test_text_is_brought_into_one_form() -> None:
    assert normalise(Section("\ufb01t", "It\u2019s\u00a0 \u201cnew\u201d\u200b", "")).text == 'It\'s "new"'


def test_keys_are_the_same_run_after_run_and_differ_between_tenants(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("# A\n\n## One\nFact.\n\n## Two\nFact.\n")

    def keys(tenant: str) -> list[str]:
        return [c.key for c in chunks_of_file(path, tmp_path, Dataset(), tenant)]

    assert keys("x") == keys("x")
    assert len(set(keys("x") + keys("y"))) == 4


def test_fingerprint_follows_content_description_and_pipeline(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one")
    before = fingerprint(tmp_path, Dataset(), "1")
    assert before == fingerprint(tmp_path, Dataset(), "1")
    assert before != fingerprint(tmp_path, Dataset(), "2")
    assert before != fingerprint(tmp_path, Dataset(exclude=("z*",)), "1")
    (tmp_path / "a.md").write_text("two")
    assert before != fingerprint(tmp_path, Dataset(), "1")


def test_excluded_foreign_and_outside_files_are_not_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.md").write_text("a")
    (source / "questions.jsonl").write_text("{}")
    (source / "image.png").write_bytes(b"x")
    (tmp_path / "secret.md").write_text("s")
    (source / "link.md").symlink_to(tmp_path / "secret.md")
    assert [p.name for p in source_files(source, Dataset(exclude=("questions*.jsonl",)))] == ["a.md"]


def test_unknown_key_of_a_description_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("excludes: []\n")
    with pytest.raises(ConfigError, match=r"dataset.yaml"):
        load_dataset(tmp_path)


def test_sample_data_are_many_documents_without_customer_names() -> None:
    dataset = load_dataset(SAMPLE)
    files = list(source_files(SAMPLE, dataset))
    chunks = [c for path in files for c in chunks_of_file(path, SAMPLE, dataset, "default")]
    assert len({(c.source, c.title.partition(":")[0]) for c in chunks}) >= 60
    assert len({c.key for c in chunks}) == len(chunks)
    assert not any("Whitfield" in c.text for c in chunks)
