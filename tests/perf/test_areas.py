"""perf/: samples of perf(1) are summed into areas, none is lost, and the report has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures.areas import (
    AREAS,
    KERNEL,
    OTHER,
    OTHER_KERNEL,
    USER,
    Profile,
    area_of,
    counted,
    shares,
)
from measuring import profiling
from measuring.scenarios import SCENARIOS
from perf_tools import record_of, samples
from report.pages import page, profile_table
from report.record import Record, read, write

SCRIPT = """\
11543.100000000: cpu-clock: \n\
\t           fc38f _PyEval_EvalFrameDefault (/usr/lib/libpython3.11.so.1.0)
\t    7f0750415700 [unknown] ([unknown])

11543.200000000: cpu-clock: \n\
\tffffffff82203249 _raw_spin_unlock_irqrestore ([kernel.kallsyms])
\tffffffff81e2f6aa tcp_sendmsg ([kernel.kallsyms])
\tffffffff81b62fa2 io_send ([kernel.kallsyms])
\tffffffff821ef691 do_syscall_64 ([kernel.kallsyms])
\t            a8c7 tcp_recvmsg (/home/a b (c)/_ring.abi3.so)

11543.300000000: cpu-clock: \n\
\t            a8c7 std::f(int) (/home/a b (c)/_ring.abi3.so)

11544.000000000: cpu-clock: \n\
\tffffffff821ef691 some_interrupt ([kernel.kallsyms])
"""
IN_KERNEL = 0xFFFFFFFF81000000


def in_kernel(*functions: str) -> str:
    """The area of a stack, the innermost function first."""
    return area_of([(IN_KERNEL, name, "[kernel.kallsyms]") for name in functions])


def test_samples_are_counted_by_area_and_in_their_time() -> None:
    lines = SCRIPT.splitlines()
    everything = counted(lines, 0, 1e9)
    assert everything == {"interpreter": 1, "send path": 1, "C core": 1, OTHER_KERNEL: 1}
    assert counted(lines, 11543.15, 11543.95) == {"send path": 1, "C core": 1}
    assert shares(everything) == dict.fromkeys(everything, 0.25)


@pytest.mark.parametrize(
    ("stack", "area"),
    [
        ("rep_movs_alternative _copy_from_iter tcp_sendmsg do_syscall_64", "copying user memory"),
        ("try_to_wake_up ep_poll_callback sock_def_readable tcp_sendmsg", "scheduling, waking"),
        ("io_poll_wake __wake_up_common tcp_sendmsg do_syscall_64", "scheduling, waking"),
        ("net_rx_action __local_bh_enable_ip tcp_sendmsg ksys_write", "send path"),
        ("tcp_v4_rcv net_rx_action asm_sysvec_apic_timer_interrupt", "receive path"),
        ("tcp_recvmsg sock_recvmsg io_recv do_syscall_64", "receive path"),
        ("inet_csk_accept inet_accept do_accept io_accept", "accept, connect, close"),
        ("tcp_sendmsg_locked tcp_close inet_release ____fput", "accept, connect, close"),
        ("tcp_poll ep_item_poll do_epoll_wait __x64_sys_epoll_wait", "epoll, poll, select"),
        ("fget io_file_get_normal io_issue_sqe do_syscall_64", "io_uring's own"),
        ("fdget_pos ksys_write do_syscall_64", "other system calls"),
        ("clear_page_erms do_user_addr_fault asm_exc_page_fault", "page faults, mmap"),
        ("[unknown]", OTHER_KERNEL),
    ],
)
def test_the_kernels_time_is_split_by_what_it_does(stack: str, area: str) -> None:
    assert in_kernel(*stack.split()) == area


@pytest.mark.parametrize(
    ("file", "area"),
    [
        ("/usr/bin/python3.11", "interpreter"),
        ("/usr/lib/lib-dynload/_socket.cpython-311-x86_64-linux-gnu.so", "interpreter"),
        ("/p/hiredis/hiredis.cpython-311-x86_64-linux-gnu.so", "parser"),
        ("/p/httptools/parser/parser.cpython-311-x86_64-linux-gnu.so", "parser"),
        ("/p/uvloop/loop.cpython-311-x86_64-linux-gnu.so", "C or Go program, uvloop"),
        ("/build/perf/limit_uring", "C or Go program, uvloop"),
        ("/p/_cffi_backend.cpython-311-x86_64-linux-gnu.so", "cffi"),
        ("/p/ringnet/uring/_ring.abi3.so", "C core"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "libc, memory"),
        ("[vdso]", "libc, memory"),
        ("/usr/lib/libcrypto.so.3", OTHER),
        ("[unknown]", OTHER),
    ],
)
def test_the_time_of_user_space_is_split_by_file(file: str, area: str) -> None:
    assert area_of([(0x7F0000001000, "tcp_sendmsg", file)]) == area


def test_every_area_is_in_the_report_once() -> None:
    assert sorted(AREAS) == sorted({*KERNEL, *USER, OTHER, OTHER_KERNEL})


def profiled() -> Record:
    """Of two servers, the faster one last."""
    found = record_of(
        [
            *samples("echo-64", "uvloop", 100, 100, cpu_us=8.0),
            *samples("echo-64", "ringnet-io_uring", 150, 160, cpu_us=4.0),
        ]
    )
    profiles = (
        Profile("echo-64", "uvloop", "", 1000, {"send path": 0.5, "interpreter": 0.5}),
        Profile("echo-64", "ringnet-io_uring", "", 1000, {"send path": 0.75, "C core": 0.25}),
    )
    return Record(found.made, found.samples, profiles)


def test_the_table_has_the_areas_in_microseconds_of_the_timed_samples() -> None:
    scenario = SCENARIOS["echo-64"]
    assert profile_table(profiled(), scenario) == [
        ("CPU us/msg", "ringnet-io_uring", "uvloop"),
        ("interpreter", "", "4.00"),
        ("C core", "1.00", ""),
        ("send path", "3.00", "4.00"),
        ("in all", "4.00", "8.00"),
        ("of it the kernel", "75%", "50%"),
    ]
    assert "| send path | 3.00 | 4.00 |" in list(page(profiled(), []))
    assert profile_table(profiled(), SCENARIOS["sink"]) == []


def test_profiles_are_read_as_they_were_written(tmp_path: Path) -> None:
    write(profiled(), tmp_path / "a.json")
    assert read(tmp_path / "a.json").profiles == profiled().profiles


def test_a_record_of_before_there_were_profiles_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"format": 1, "samples": [{"scenario": "sink", "peer": "gnet", "variant": "",'
                    ' "run": 0, "value": 1.5, "marks": ["disturbed"]}]}')  # fmt: skip
    old = read(file)
    assert old.profiles == ()
    assert old.samples[0].marks == ("disturbed",)


def test_without_perf_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(profiling.CannotProfile, match="apt-get install linux-perf"):
        profiling.check()


@pytest.mark.parametrize(
    ("paranoid", "first_symbol", "said"),
    [
        ("2", "ffffffff81000000", "perf_event_paranoid=1"),
        ("1", "0000000000000000", "kptr_restrict"),
    ],
)
def test_what_the_kernel_refuses_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, paranoid: str, first_symbol: str, said: str
) -> None:
    (tmp_path / "paranoid").write_text(f"{paranoid}\n")
    (tmp_path / "symbols").write_text(f"{first_symbol} T _text\n")
    monkeypatch.setattr(profiling, "PARANOID", tmp_path / "paranoid")
    monkeypatch.setattr(profiling, "SYMBOLS", tmp_path / "symbols")
    monkeypatch.setattr(profiling.shutil, "which", lambda _: "/usr/bin/perf")
    monkeypatch.setattr(profiling.os, "geteuid", lambda: 1000)
    with pytest.raises(profiling.CannotProfile, match=said):
        profiling.check()
