"""Files become documents; broken and hostile ones are set aside with their reason, and the rest goes on."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pypdf
import pytest

from ingest_jobs.knowledge.read.dataset import Dataset, load_dataset
from ingest_jobs.knowledge.read.documents import Document, Refusal, Unit
from ingest_jobs.knowledge.read.reading import documents_of, read_stream
from ingest_jobs.knowledge.read.sources import all_units

pytestmark = pytest.mark.unit

SAMPLE = Path(__file__).resolve().parents[5] / "ingest_jobs" / "sample_data"
SMALL = Dataset(limits={"max_file_bytes": 65536, "max_line_bytes": 1024, "max_unpacked_bytes": 100_000, "max_pages": 2})


def read(name: str, data: bytes, dataset: Dataset = SMALL) -> list[Document | Refusal]:
    unit = Unit(0, name, name, "2026-01-02")

    def items() -> list[Document | Refusal]:
        found: list[Document | Refusal] = []
        try:
            found += read_stream(unit, io.BytesIO(data), dataset)
        except Exception as error:
            found.append(Refusal(name, str(error)))
        return found

    return items()


def texts(found: list[Document | Refusal]) -> list[str]:
    return [f"{s.title}: {s.text}" for item in found if isinstance(item, Document) for s in item.sections]


def reasons(found: list[Document | Refusal]) -> list[str]:
    return [item.reason for item in found if isinstance(item, Refusal)]


def docx_bytes() -> bytes:
    document = docx.Document()
    document.add_heading("Returns", 1)
    document.add_heading("Time", 2)
    document.add_paragraph("Thirty days.")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip([c for row in table.rows for c in row.cells], ["Item", "Fee", "Tent", "$5"], strict=True):
        cell.text = text
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def pdf_bytes(pages: int = 1, *, password: str = "") -> bytes:
    writer = pypdf.PdfWriter()
    for _ in range(pages):
        page = writer.add_blank_page(200, 200)
        font = pypdf.generic.DictionaryObject(
            {
                pypdf.generic.NameObject("/Type"): pypdf.generic.NameObject("/Font"),
                pypdf.generic.NameObject("/Subtype"): pypdf.generic.NameObject("/Type1"),
                pypdf.generic.NameObject("/BaseFont"): pypdf.generic.NameObject("/Helvetica"),
            }
        )
        fonts = pypdf.generic.DictionaryObject({pypdf.generic.NameObject("/F1"): writer._add_object(font)})
        resources = pypdf.generic.DictionaryObject({pypdf.generic.NameObject("/Font"): fonts})
        page[pypdf.generic.NameObject("/Resources")] = resources
        content = pypdf.generic.StreamObject()
        content.set_data(b"BT /F1 12 Tf 10 100 Td (The warranty is two years.) Tj ET")
        page[pypdf.generic.NameObject("/Contents")] = writer._add_object(content)
    writer.add_metadata({"/Title": "Warranty"})
    if password:
        writer.encrypt(password)
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def parquet_bytes() -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table({"name": ["Tent", "Boot"], "price": [249.0, None]}), target)
    return target.getvalue()


MARKDOWN = b"# Ship\n\n## Costs\nIt is **$5**, see [prices](/p).\n\n- Free over $75.\n"
PAGE = (
    b"<head><title>x</title></head><nav>M</nav><h1>P</h1><script>alert(1)</script>"
    b"<h2>D</h2><p>We keep <b>little</b> &amp; short.</p>"
)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.md", MARKDOWN, ["Ship: Costs: It is $5, see prices. Free over $75."]),
        ("a.md", b"# T\n\n| Item | Fee |\n|---|---|\n| Tent | $5 |\n", ["T: Item Tent, Fee $5."]),
        ("a.html", PAGE, ["P: D: We keep little & short."]),
        ("opening-hours.txt", b"Nine to five.\n", ["Opening hours: Nine to five."]),
        ("a.csv", b"name,net_weight\nTent,2 kg\n", ["Tent: The name of Tent is Tent. The net weight of Tent is 2 kg."]),
        ("a.tsv", b"name\tfee\nTent\t5\n", ["Tent: The name of Tent is Tent. The fee of Tent is 5."]),
        ("a.jsonl", b'{"name": "Tent", "note": ""}\n', ["Tent: The name of Tent is Tent."]),
        ("a.txt", "wide".encode("utf-16"), ["A: wide"]),
    ],
)  # fmt: skip
def test_text_formats_give_titled_sections(name: str, data: bytes, expected: list[str]) -> None:
    assert texts(read(name, data)) == expected


def test_office_and_column_formats_give_titled_sections() -> None:
    assert texts(read("r.docx", docx_bytes(), Dataset())) == ["Returns: Time: Thirty days. Item Tent, Fee $5."]
    assert texts(read("w.pdf", pdf_bytes(), Dataset())) == ["Warranty: page 1: The warranty is two years."]
    assert texts(read("p.parquet", parquet_bytes(), Dataset())) == [
        "Tent: The name of Tent is Tent. The price of Tent is 249.",
        "Boot: The name of Boot is Boot.",
    ]


def bomb() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 50_000_000)
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.docx", bomb(), "zip bomb"),
        ("a.docx", b"PK no zip", "broken zip"),
        ("a.docx", docx_bytes()[:-400], "broken"),
        ("a.pdf", b"%PDF-1.7 rubbish", "broken PDF"),
        ("a.pdf", pdf_bytes(password="x"), "encrypted"),
        ("a.pdf", pdf_bytes(3), "more than 2 pages"),
        ("a.txt", "Gr\u00fc\u00dfe".encode("latin-1"), "not UTF-8"),
        ("a.csv", b"name\n" + "Gr\u00fc\u00dfe".encode("latin-1"), "not UTF-8"),
        ("a.txt", b"x" * 70_000, "larger than 65536"),
        ("a.csv", b"name\n" + b"x" * 5000, "a line of more than 1024"),
        ("a.jsonl", b'{"a": "' + b"x" * 5000 + b'"}\n', "a line of more than 1024"),
        ("a.jsonl", b"{oops\n", "not JSON"),
        ("a.jsonl", b"[1]\n", "not a JSON object"),
        ("a.jsonl", b'{"a":' * 1000, "a line of more"),
        ("a.csv", b"name,fee\nTent,\"=cmd|'/C calc'!A0\"\n", "a cell holds a formula"),
        ("a.csv", b'name,fee\nTent,"@SUM(A1)"\n', "a cell holds a formula"),
        ("a.csv", b"name,fee\nTent,5,6\n", "the number of cells differs"),
        ("a.csv", b"name,fee\nTent,<script>x</script>\n", "holds a script"),
        ("a.md", b"# A\n<script>steal()</script>", "holds a script"),
        ("a.txt", b"#!/bin/sh\nrm -rf /\n", "a program"),
        ("a.txt", b"MZ\x90\x00", "a program"),
        ("a.txt", b"a\x00b", "a binary file"),
        ("a.parquet", b"PAR1 rubbish", "broken Parquet"),
    ],
)
def test_broken_or_hostile_content_is_set_aside_with_its_reason(name: str, data: bytes, reason: str) -> None:
    found = read(name, data)
    assert any(reason in given for given in reasons(found)), reasons(found)
    assert texts(found) == []


def test_rest_of_a_table_goes_on_after_a_bad_row() -> None:
    rows = b'{"name": "Tent"}\n{oops\n' + b'{"x": "' + b"y" * 9000 + b'"}\n{"name": "Boot"}\n'
    found = read("a.jsonl", rows)
    assert [item.doc_id for item in found if isinstance(item, Document)] == ["a.jsonl#Tent#0", "a.jsonl#Boot#0"]
    broken, long = reasons(found)
    assert broken.startswith("a.jsonl, line 2: not JSON")
    assert long == "a.jsonl, line 3: a line of more than 1024 bytes"


def test_numbers_and_dates_that_look_like_formulas_stay() -> None:
    assert texts(read("a.csv", b"name,change,phone\nTent,-5,+1 555 0100\n"))


RULE = Dataset(
    tables={
        "o*.csv": {
            "title": "Order {id}",
            "sentences": [
                {"say": "It {status}."},
                {"column": "paid", "equals": "1", "say": "Paid.", "otherwise": "Open."},
            ],
            "id": "id",
            "subject": "customer",
            "updated_at": "day",
            "expires_at": "until",
        }
    }
)
ORDERS = b"id,status,paid,customer,day,until\n7,ships,1,c-9,2026-02-03T10:00,2027-01-01\n8,waits,0,c-4,2026-02-04,\n"


def test_table_rule_gives_sentences_and_the_row_its_person_and_dates() -> None:
    first, second = [item for item in read("orders.csv", ORDERS, RULE) if isinstance(item, Document)]
    assert (first.doc_id, first.subject, first.updated_at, first.expires_at) == (
        "orders.csv#7", "c-9", "2026-02-03", "2027-01-01",
    )  # fmt: skip
    assert texts([first, second]) == ["Order 7: It ships. Paid.", "Order 8: It waits. Open."]


def test_row_without_a_named_column_or_with_a_known_id_is_set_aside() -> None:
    lacking = reasons(read("o.csv", b"id,status,paid,customer\n7,s,1,c\n", RULE))
    assert "no column 'day', which the dataset names" in lacking[0]
    assert "a second row with the id" in reasons(read("o.csv", ORDERS + b"7,x,1,c,2026-01-01,\n", RULE))[0]


def test_records_of_one_name_stay_two_and_other_rows_do_not_change_an_id() -> None:
    ids = [d.doc_id for d in read("a.csv", b"n,p\nTent,1\nTent,2\n") if isinstance(d, Document)]
    assert ids == ["a.csv#Tent#0", "a.csv#Tent#1"]
    assert ids[0] in [d.doc_id for d in read("a.csv", b"n,p\nBoot,1\nTent,1\n") if isinstance(d, Document)]


def test_column_of_the_person_is_not_read_out() -> None:
    dataset = Dataset(tables={"a.csv": {"subject": "who", "drop": ["secret"]}})
    assert texts(read("a.csv", b"name,who,secret\nTent,Ann,x\n", dataset)) == ["Tent: The name of Tent is Tent."]


def test_file_under_a_person_s_folder_is_about_that_person() -> None:
    dataset = Dataset(subject_pattern=r"customers/(?P<subject>[^/]+)/")
    found = read("customers/c-7/letter.md", b"# L\nHello.\n", dataset)[0]
    assert isinstance(found, Document)
    assert found.subject == "c-7"


def test_folder_lists_wanted_files_only_and_follows_no_link_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    for name in ("a.md", "questions.jsonl", "image.png", "dataset.yaml", "deep/b.csv"):
        (source / name).write_text(
            "sources: [{kind: folder, exclude: ['q*.jsonl']}]" if name == "dataset.yaml" else "x"
        )
    (tmp_path / "secret.md").write_text("s")
    (source / "link.md").symlink_to(tmp_path / "secret.md")
    units = list(all_units(load_dataset(source)))
    assert [unit.name for unit in units] == ["a.md", "deep/b.csv"]
    assert units[0].updated_at == datetime.fromtimestamp((source / "a.md").stat().st_mtime, UTC).date().isoformat()


def test_sample_data_are_many_documents_without_customer_names() -> None:
    dataset = load_dataset(SAMPLE)
    found = [item for unit in all_units(dataset) for item in documents_of(unit, dataset)]
    assert reasons(found) == []
    assert len(found) >= 100
    assert not any("Whitfield" in text for text in texts(found))


def test_json_and_csv_of_the_same_rows_say_the_same() -> None:
    as_json = b"\n".join(json.dumps({"name": n, "fee": f}).encode() for n, f in (("Tent", 5), ("Boot", 6.5)))
    assert texts(read("a.jsonl", as_json)) == texts(read("a.csv", b"name,fee\nTent,5\nBoot,6.5\n"))
