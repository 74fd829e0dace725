"""Signals wait while files are handed over, are not lost, and go back to their handlers."""

import signal
import threading

import pytest

from fcn_jax.cli.segmenting.signals import Stop, Terminated, stopping


@pytest.fixture(autouse=True)
def usual_handlers():
    """Whoever starts the tests in the background may have Ctrl-C ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_waits_for_the_end_of_the_block(number, error):
    reached = []

    def hand_over(stop):
        with stop.held():
            with stop.held():
                signal.raise_signal(number)
                reached.append("inner block")
            reached.append("outer block")
        reached.append("after it")

    with stopping() as stop, pytest.raises(error) as raised:
        hand_over(stop)
    assert raised.type is error
    assert reached == ["inner block", "outer block"]


def test_outside_of_blocks_it_raises_at_once():
    with stopping(), pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)


def test_a_swallowed_signal_comes_again():
    """JAX's callbacks lose what is raised in them."""
    stop = Stop()
    with pytest.raises(Terminated):
        stop.ask(signal.SIGTERM)
    with pytest.raises(Terminated), stop.held():
        pass


def test_while_finishing_no_signal_raises():
    with stopping() as stop:
        stop.finish()
        signal.raise_signal(signal.SIGINT)
        with stop.held():
            signal.raise_signal(signal.SIGTERM)


def test_handlers_are_put_back_and_what_was_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stopping():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_there_are_no_handlers():
    came = []

    def listen():
        with stopping():
            came.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert came == [before]
