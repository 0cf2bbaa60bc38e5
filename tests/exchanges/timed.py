"""Exchanges in which time or another client matters; each is played by the test that it names."""

from exchanges.kinds import Timed


def timed() -> tuple[Timed, ...]:
    """Every one; `tests/unit/edge` has the tests."""
    courses = (
        (
            "sends headers a byte at a time (slow loris)",
            "408 after the header time",
            "slow_headers",
        ),
        ("announces a body and sends a byte of it", "408 after the body time", "slow_body"),
        (
            "sends a large body slowly, but as fast as it must",
            "200",
            "a_slow_body_that_keeps_the_rate_is_read",
        ),
        (
            "waits for `100 Continue`",
            "100, then 200",
            "continue_is_sent_when_the_client_waits",
        ),
        (
            "waits for `100 Continue` behind an unanswered request",
            "the first answer, then 100",
            "continue_waits_for_earlier_answers",
        ),
        (
            "pipelines requests that are answered out of order",
            "answers in the order of the requests",
            "answers_leave_in_the_order_of_requests",
        ),
        (
            "pipelines an error behind requests not yet answered",
            "their answers first, then 400",
            "bad_request_leaves_the_earlier_ones_their_answers",
        ),
        (
            "pipelines without end",
            "64 requests are taken, the rest waits in the socket",
            "reading_stops_when_too_much_is_owed",
        ),
        (
            "closes its side and waits",
            "the answers it is owed",
            "a_half_closed_client_gets_its_answer",
        ),
        (
            "does not read its answers",
            "it is read no further",
            "a_client_that_does_not_read_stops_being_read",
        ),
        ("never reads", "cut off after the write time", "a_client_that_never_reads_is_cut_off"),
        (
            "resets the connection in a body",
            "its bytes are given back",
            "departures_in_a_body_give_its_bytes_back",
        ),
        (
            "resets with requests in the queue",
            "they leave the queue",
            "whoever_holds_a_request_hears_that_the_client_left",
        ),
        ("stays idle", "closed after the idle time", "an_idle_connection_is_closed_without_a_word"),
        (
            "opens more connections than allowed, all busy",
            "503 with Retry-After",
            "too_many_connections",
        ),
        (
            "fills all connections with idle ones",
            "the longest idle one makes room for the next client",
            "idle_connections_make_room",
        ),
        ("sends large bodies on many connections", "503 with Retry-After", "too_many_large_bodies"),
        ("speaks plain HTTP to a TLS port", "400 in plain HTTP", "plain_http_on_a_tls_port"),
        ("begins a TLS handshake and waits", "cut off", "a_handshake_that_takes_too_long"),
        ("sends no byte to a TLS port", "cut off", "a_client_that_says_nothing"),
        ("sends rubbish in a TLS handshake", "an alert, closed", "rubbish_in_a_handshake"),
        ("sends rubbish in TLS records", "cut off, nothing of it is read", "a_forged_record"),
        (
            "begins more handshakes than allowed",
            "the oldest one is cut off",
            "too_many_handshakes",
        ),
        (
            "closes TLS in one direction and waits",
            "the answers it is owed",
            "close_notify_with_an_answer_owed",
        ),
    )
    return tuple(Timed(title, outcome, f"test_{test}") for title, outcome, test in courses)
