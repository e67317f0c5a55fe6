"""How numbers of things are said."""


def counted(number: int, what: str) -> str:
    """`1 day`, `1,200 deliveries`."""
    many = f"{what.removesuffix('y')}ies" if what.endswith("ry") else f"{what}s"
    return f"{number:,} {what if number == 1 else many}"
