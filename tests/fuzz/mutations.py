"""Bytes as damage and malice make them: valid files of a kind, with a few changes each."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

# Where parsers trip: lengths and counts at their ends, signs, nothing, other encodings, paths that lead out, markup.
TOKENS = (
    *(b"", b"\x00", b"\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00"),
    *(
        b"\x00" * 8,
        b"\xff" * 8,
        b"-1",
        b"0",
        b"4294967296",
        b"1e999",
        b"nan",
        b"inf",
        b"-",
        b"\n",
        b"\r\n",
        b"\t",
        b'"',
    ),
    *(
        b"../",
        b"/etc/passwd",
        b"..\\",
        b"%00",
        b"\xef\xbb\xbf",
        b"\xfe\xff",
        b"\xc3\x28",
        b"null",
        b"{}",
        b"[]",
        b"[" * 2000,
    ),
    *(b"</script>", b"${x}", b"{{x}}", b"!!python/object", b"&a [*a,*a]", b"PAR1", b"IDAT", b"IEND", b"ustar"),
)


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with one to four changes: bits turned, parts cut, copied, moved or replaced, tokens put in."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data), 1) - 1))
        length = draw(st.sampled_from((1, 2, 4, 8, 64)))
        kind = draw(st.integers(0, 6))
        if kind == 0 and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1:
            data[place : place + length] = draw(st.sampled_from(TOKENS))
        elif kind == 2:
            data[place:place] = draw(st.sampled_from(TOKENS))
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            del data[place:]
        elif kind == 5:
            other = draw(st.integers(0, max(len(data), 1) - 1))
            data[other:other] = data[place : place + 64]
        else:
            data[place : place + length] = draw(st.binary(min_size=length, max_size=length))
    return bytes(data)
