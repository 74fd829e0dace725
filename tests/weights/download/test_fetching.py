"""Downloads from a server on this machine that misbehaves as told."""

import hashlib
import random
import ssl
import time
import urllib.error
import urllib.request

import pytest

from fcn_jax.weights import Weights, WeightsDownloadError, fetch
from fcn_jax.weights.download import fetching, transfer
from tests.weights.download import loopback
from tests.weights.download.loopback import CONTENT, files, final, get, part

# A good server


def test_a_file_is_fetched_once(server, folder):
    path = get(server, folder)
    assert path == final(server, folder)
    assert path.read_bytes() == CONTENT
    assert files(folder) == {".pth", ".lock"}
    assert get(server, folder) == path
    assert server.ranges == [None]


def test_a_plain_address_will_do(server, folder):
    assert fetch(server.weights().url, progress=False, cache_dir=str(folder)).read_bytes() == CONTENT


def test_the_whole_digest_and_the_size_are_used_where_known(server, folder):
    weights = server.weights(sha256=server.digest, size=len(CONTENT))
    assert fetch(weights, progress=False, cache_dir=folder).read_bytes() == CONTENT


def test_a_digest_right_in_its_first_8_digits_only_is_refused(server, folder):
    weights = server.weights(sha256=server.digest[:-1] + ("0" if server.digest[-1] != "0" else "1"))
    with pytest.raises(WeightsDownloadError, match=f"expected sha256 {weights.sha256}, got {server.digest}"):
        fetch(weights, progress=False, cache_dir=folder)
    assert files(folder) == {".lock"}


def test_redirects_are_followed_and_keep_the_range(server, folder):
    server.script += [loopback.status(302, Location="/elsewhere")] * 2
    part(server, folder, CONTENT[:150_000])
    assert get(server, folder).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=150000-"


# Servers and connections that fail


@pytest.mark.parametrize("code", [404, 403, 410])
def test_a_refusal_is_final(server, folder, code):
    server.script += [loopback.status(code)]
    with pytest.raises(WeightsDownloadError, match=f"HTTP {code}"):
        get(server, folder)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("code", [500, 503, 429, 408])
def test_a_server_in_trouble_is_asked_again(server, folder, code):
    server.script += [loopback.status(code)] * 2
    assert get(server, folder).read_bytes() == CONTENT
    assert len(server.ranges) == 3


def test_retries_come_to_an_end(server, folder):
    server.script += [loopback.status(500)] * 50
    with pytest.raises(WeightsDownloadError, match="HTTP 500"):
        get(server, folder)
    assert len(server.ranges) == fetching.RETRIES + 1


def test_retry_after_is_heard_up_to_a_bound(server, folder, monkeypatch):
    slept = []
    monkeypatch.setattr(fetching.time, "sleep", slept.append)
    server.script += [loopback.status(429, Retry_After=after) for after in ("7", "86400", "soon")]
    get(server, folder)
    assert slept == [7, 60, 4 * fetching.BACKOFF_SECONDS]


def test_a_cut_download_goes_on_where_it_was_cut(server, folder):
    server.script += [loopback.cut(120_000)]
    assert get(server, folder).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=120000-"]
    assert server.if_ranges == [None, f'"{server.digest[:16]}"']
    assert server.sent == [120_000, 80_000]


def test_many_cuts_that_come_forward_are_no_reason_to_give_up(server, folder, monkeypatch):
    monkeypatch.setattr(fetching, "PROGRESS_BYTES", 1000)
    server.script += [loopback.cut(10_000)] * 15
    assert get(server, folder).read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT)


def test_cuts_that_never_come_further_are(server, folder, monkeypatch):
    monkeypatch.setattr(fetching, "PROGRESS_BYTES", 1000)
    server.script += [loopback.cut(10_000, ranges=False)] * 50
    with pytest.raises(WeightsDownloadError, match="ended after 10,000 of 200,000 bytes"):
        get(server, folder)
    assert len(server.ranges) < 10


def test_a_server_that_ignores_range_sends_all_again(server, folder):
    server.script += [loopback.cut(120_000), loopback.without_ranges]
    assert get(server, folder).read_bytes() == CONTENT
    assert server.sent == [120_000, 200_000]


@pytest.mark.parametrize(
    ("etag", "if_ranges", "sent"),
    [
        ('"old"', [None, '"old"'], [100, 200_000]),
        ('W/"old"', [None, None, None], [100, 199_900, 200_000]),  # a weak one cannot be asked for
    ],
)
def test_a_file_that_changed_since_the_cut_is_sent_whole(server, folder, etag, if_ranges, sent):
    def cut_of_the_old_file(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "200000")
        handler.send_header("ETag", etag)
        handler.end_headers()
        handler.write(b"\0" * 100)

    server.script += [cut_of_the_old_file]
    assert get(server, folder).read_bytes() == CONTENT
    assert server.if_ranges == if_ranges
    assert server.sent == sent


def test_a_cut_without_a_known_length_is_seen_by_the_digest(server, folder):
    server.script += [loopback.cut(120_000, length=False)]
    assert get(server, folder).read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_a_cut_without_a_length_is_resumed_where_the_size_was_published(server, folder):
    server.script += [loopback.cut(120_000, length=False)]
    weights = server.weights(size=len(CONTENT))
    assert fetch(weights, progress=False, cache_dir=folder).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=120000-"]


@pytest.mark.parametrize("kept", [CONTENT + b"!", b"?" * len(CONTENT)])
def test_bytes_kept_beyond_the_end_are_thrown_away(server, folder, kept):
    part(server, folder, kept)
    assert get(server, folder).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(kept)}-", None]


def test_another_part_than_asked_for_is_not_appended(server, folder):
    server.script += [loopback.cut(120_000), loopback.wrong_part]
    assert get(server, folder).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=120000-", None]


def test_wrong_bytes_are_fetched_once_more_from_the_start(server, folder):
    server.script += [loopback.flipped]
    assert get(server, folder).read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_wrong_bytes_twice_are_an_error_that_names_both_digests(server, folder):
    server.script += [loopback.flipped] * 2
    with pytest.raises(
        WeightsDownloadError, match=rf"expected sha256 {server.digest[:8]}, got [0-9a-f]{{64}}"
    ):
        get(server, folder)
    assert len(server.ranges) == 2
    assert files(folder) == {".lock"}


def test_a_login_page_costs_nothing_where_the_size_is_known(server, folder):
    kept = part(server, folder, CONTENT[:1000])
    server.script += [loopback.login_page] * 50
    with pytest.raises(WeightsDownloadError, match="announced a file of 23 bytes, expected 200,000"):
        fetch(server.weights(size=len(CONTENT)), progress=False, cache_dir=folder)
    assert kept.read_bytes() == CONTENT[:1000]


def test_an_endless_answer_is_cut_off(server, folder, monkeypatch):
    monkeypatch.setattr(transfer, "LARGEST", 100_000)
    server.script += [loopback.cut(len(CONTENT), length=False)] * 50
    with pytest.raises(WeightsDownloadError, match="sent more than 100,000 bytes"):
        get(server, folder)
    assert files(folder) == {".lock"}


def test_no_http_at_all(server, folder):
    server.script += [loopback.not_http] * 2
    assert get(server, folder).read_bytes() == CONTENT


def test_nobody_listens(server, folder):
    weights = server.weights()
    server.server_close()
    with pytest.raises(WeightsDownloadError, match="connection failed"):
        fetch(weights, progress=False, cache_dir=folder)


def test_a_certificate_that_is_not_accepted_is_final(server, folder, monkeypatch):
    calls = []

    def urlopen(request, timeout):
        calls.append(request)
        raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed certificate"))

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(WeightsDownloadError, match="certificate was not accepted"):
        get(server, folder)
    assert len(calls) == 1


# Time


def test_a_slow_server_is_waited_for(server, folder, monkeypatch):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.3)
    server.script += [loopback.drip(8, pause=0.1)]
    assert get(server, folder).read_bytes() == CONTENT
    assert len(server.ranges) == 1


@pytest.mark.parametrize("count", [0, 50_000])
def test_a_silent_server_is_left(server, folder, monkeypatch, count):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.1)
    server.script += [loopback.stall(count)]
    began = time.monotonic()
    assert get(server, folder).read_bytes() == CONTENT
    assert time.monotonic() - began < 3
    assert len(server.ranges) == 2


def test_a_server_that_stays_silent_is_named(server, folder, monkeypatch):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.05)
    server.script += [loopback.stall(0)] * 50
    with pytest.raises(WeightsDownloadError, match=r"silent for 0\.05 s"):
        get(server, folder)


def test_a_server_that_sends_drops_is_left(server, folder, monkeypatch):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(transfer, "SLOWEST", 1 << 20)
    server.script += [loopback.drip(100, pause=0.05)]
    assert get(server, folder).read_bytes() == CONTENT
    assert server.sent[0] < 50_000


# What may be asked for, and where it goes


@pytest.mark.parametrize(
    "url", ["ftp://host/net-0123abcd.pth", "file:///net-0123abcd.pth", "net-0123abcd.pth", ""]
)
def test_only_web_addresses(folder, url):
    with pytest.raises(ValueError, match="expected an http or https address"):
        fetch(url, cache_dir=folder)


def test_a_sha1_verifies_where_no_sha256_is_known(server, folder):
    sha1 = hashlib.sha1(CONTENT).hexdigest()
    weights = server.weights(name="net.caffemodel", sha1=sha1)
    assert fetch(weights, progress=False, cache_dir=folder).read_bytes() == CONTENT
    with pytest.raises(WeightsDownloadError, match=f"expected sha1 {'0' * 40}, got {sha1}"):
        fetch(server.weights(name="net.caffemodel", sha1="0" * 40), progress=False, cache_dir=folder)


def test_only_what_can_be_verified(folder):
    with pytest.raises(
        WeightsDownloadError,
        match=r"no digest of this file is known.*\n.*pass the path of the file as weights",
    ):
        fetch("https://host/net.pth", cache_dir=folder)
    with pytest.raises(WeightsDownloadError, match="not in the cache"):
        fetch(Weights("https://host/net.pth", dict, {}, sha256="ab" * 32), cache_dir=folder, offline=True)


@pytest.mark.parametrize("wanted", [None, 3, b"https://host/net-0123abcd.pth"])
def test_only_weights_and_addresses(wanted):
    with pytest.raises(TypeError, match="expected published weights or an address"):
        fetch(wanted)


# All of it, drawn by chance

FAULTS = [
    lambda chance: loopback.cut(chance.randrange(len(CONTENT)), ranges=chance.random() < 0.7),
    lambda chance: loopback.cut(chance.randrange(len(CONTENT)), length=False),
    lambda chance: loopback.stall(chance.randrange(len(CONTENT))),
    lambda chance: loopback.status(chance.choice([500, 502, 503, 429, 408, 416, 404])),
    lambda chance: loopback.flipped,
    lambda chance: loopback.wrong_part,
    lambda chance: loopback.login_page,
    lambda chance: loopback.not_http,
]


def test_no_fault_puts_a_wrong_file_under_the_final_name(server, folder, monkeypatch):
    monkeypatch.setattr(transfer, "SILENCE_SECONDS", 0.1)
    chance = random.Random(2015)
    injected, outcomes = 0, {"right": 0, "error": 0}
    while injected < 200:
        count = chance.randint(1, 5)
        server.script.extend(chance.choice(FAULTS)(chance) for _ in range(count))
        if chance.random() < 0.2:
            part(server, folder, chance.randbytes(chance.randrange(2 * len(CONTENT))))
        try:
            get(server, folder)
            outcomes["right"] += 1
            assert final(server, folder).read_bytes() == CONTENT
            final(server, folder).unlink()
        except WeightsDownloadError:
            outcomes["error"] += 1
            assert not final(server, folder).exists()
        injected += count - len(server.script)
        server.script.clear()
    assert outcomes["right"] > 20
    assert outcomes["error"] > 5
