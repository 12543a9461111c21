"""How far the texts of a group compress together."""

import gzip
from collections.abc import Sequence


def compression_ratio(texts: Sequence[str]) -> float:
    """Measure how redundant a group is: bytes of its texts over bytes of their gzip file.

    The texts are joined by a space, in their order, and compressed once. Above 0, dimensionless,
    higher is *less* diverse: many copies of one text reach tens, short texts stay below 1, since
    the file has 18 bytes of its own. No texts: 0. It grows with length: compare groups of equal
    total length. The last digits depend on the zlib that Python was built with.

    Args:
        texts: The texts of one group.

    Source:
        Shaib et al., package ``diversity`` (cshaib/diversity), ``compression_ratio``.

    Differs from the released code:
        It compresses what gzip returned a second time, which makes redundant groups look less so,
        and rounds to three digits.

    >>> compression_ratio(["the cat sat on the mat"] * 50) > 10
    True
    """
    data = " ".join(texts).encode("utf-8", errors="surrogatepass")
    return len(data) / len(gzip.compress(data, compresslevel=9, mtime=0))
