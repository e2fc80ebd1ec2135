"""What is read of a processor, and what is chosen for it."""

from __future__ import annotations

import pytest

from cluster.processor import Processor, processor_of, this_processor

pytestmark = pytest.mark.unit

AVX2 = "processor\t: 0\nmodel name\t: An Old CPU\nflags\t\t: fpu avx2 f16c\n\nprocessor\t: 1\nmodel name\t: Other\n"
BF16 = "model name\t: A New CPU\nflags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16 avx512_bf16x\n"
AMX = "model name\t: A Newer CPU\nflags\t\t: avx2 avx512f amx_bf16 amx_tile\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"


@pytest.mark.parametrize(
    ("cpu_info", "features", "dtype"),
    [
        (AVX2, ("avx2",), "float32"),
        (BF16, ("avx2", "avx512f", "avx512_vnni", "avx512_bf16"), "bfloat16"),
        (AMX, ("avx2", "avx512f", "amx_bf16"), "bfloat16"),
        (ARM, ("bf16",), "bfloat16"),
        ("", (), "float32"),
        ("flags without a colon", (), "float32"),
    ],
)
def test_data_type_is_what_the_processor_has_units_for(cpu_info: str, features: tuple[str, ...], dtype: str) -> None:
    found = processor_of(cpu_info, 4)
    assert (found.features, found.dtype, found.cores) == (features, dtype, 4)


def test_first_processor_gives_the_name_and_people_read_it() -> None:
    assert str(processor_of(AVX2, 2)) == "An Old CPU, 2 cores, avx2"
    assert str(Processor("x", 1, ())) == "x, 1 cores, no vector extensions known"


def cores(*ids: tuple[int, int]) -> str:
    return "\n\n".join(
        f"processor : {at}\nphysical id : {package}\ncore id : {core}" for at, (package, core) in enumerate(ids)
    )


@pytest.mark.parametrize(
    ("cpu_info", "usable", "physical"),
    [
        (cores((0, 0), (0, 1), (1, 0), (1, 1)), 4, 4),
        (cores((0, 0), (0, 0), (0, 1), (0, 1)), 4, 2),
        (cores((0, 0), (0, 1), (0, 2), (0, 3)), 1, 1),
        ("", 3, 3),
    ],
)
def test_two_threads_of_a_core_are_one_physical_core(cpu_info: str, usable: int, physical: int) -> None:
    assert processor_of(cpu_info, usable).physical_cores == physical


@pytest.mark.parametrize(
    ("features", "physical", "threads"), [(("avx2",), 8, 2), (("avx2",), 1, 1), (("avx2", "avx512f"), 8, 1)]
)
def test_second_thread_is_for_narrow_vectors_and_a_core_of_its_own(
    features: tuple[str, ...], physical: int, threads: int
) -> None:
    assert Processor("x", 8, features, physical).threads == threads


def test_this_machine_has_a_processor() -> None:
    assert this_processor().name
    assert this_processor().cores >= 1
