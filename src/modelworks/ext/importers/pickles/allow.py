"""Which names a pickle may bring to life: lists of data, with the reason for each entry."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One permission.

    Attributes:
        names: `module.name` each, or packages.
        reason: why they are harmless and needed.
    """

    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class AllowList:
    """What a family of model files may name; anything else is refused.

    Attributes:
        family: as shown to users (`scikit-learn`).
        exact: objects by full name: classes and the very few functions.
        packages: any class that is defined in such a package; never a function or an instance.
        excluded: packages inside `packages` that stay closed.
    """

    family: str
    exact: tuple[Entry, ...] = ()
    packages: tuple[Entry, ...] = ()
    excluded: tuple[Entry, ...] = ()

    def including(self, *others: "AllowList") -> "AllowList":
        """This list and the others', under this family's name."""
        return AllowList(
            self.family,
            self.exact + tuple(entry for other in others for entry in other.exact),
            self.packages + tuple(entry for other in others for entry in other.packages),
            self.excluded + tuple(entry for other in others for entry in other.excluded),
        )

    def names(self) -> frozenset[str]:
        """Every exact name."""
        return frozenset(name for entry in self.exact for name in entry.names)

    def package_of(self, module: str) -> str | None:
        """The open package that a module lies in, if there is one."""
        closed = (name for entry in self.excluded for name in entry.names)
        if any(_inside(module, name) for name in closed):
            return None
        opened = (name for entry in self.packages for name in entry.names)
        return next((name for name in opened if _inside(module, name)), None)


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _each(module: str, names: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name in names.split())


STDLIB_SAFE = AllowList(
    "the standard library",
    exact=(
        Entry(
            _each(
                "builtins",
                "bool bytearray bytes complex dict float frozenset int list object range set "
                "slice str tuple",
            ),
            "plain values; their constructors call nothing",
        ),
        Entry(
            _each("collections", "OrderedDict defaultdict deque"),
            "containers; a factory can only be something that is on this list",
        ),
        Entry(("copyreg._reconstructor",), "protocols 0 and 1 make every instance through it"),
        Entry(("_codecs.encode",), "protocols 0 to 2 write bytes so; only latin1 is let through"),
        Entry(
            _each("datetime", "date datetime time timedelta timezone"),
            "values in categories and parameters",
        ),
        Entry(("decimal.Decimal", "fractions.Fraction", "uuid.UUID"), "values"),
    ),
)

NUMPY = AllowList(
    "numpy",
    exact=(
        Entry(("numpy.dtype", "numpy.ndarray"), "every array; the state is checked by the loader"),
        Entry(
            (
                "numpy._core.multiarray._reconstruct",
                "numpy._core.multiarray.scalar",
                "numpy._core.numeric._frombuffer",
            ),
            "how numpy pickles arrays and scalars",
        ),
        Entry(
            _each(
                "numpy",
                "bool bool_ bytes_ str_ object_ void datetime64 timedelta64 int8 int16 int32 int64 "
                "uint8 uint16 uint32 uint64 float16 float32 float64 longdouble complex64 "
                "complex128 number integer floating generic longlong ulonglong intp uintp",
            ),
            "scalar types as parameters (dtype=numpy.float64)",
        ),
        Entry(
            (
                "numpy.ma.MaskedArray",
                "numpy.ma.core.MaskedArray",
                "numpy.ma.core._mareconstruct",
            ),
            "the tables of a parameter search",
        ),
        Entry(
            (
                *_each("numpy.random._pickle", "__randomstate_ctor __generator_ctor"),
                "numpy.random._pickle.__bit_generator_ctor",
                "numpy.random._mt19937.MT19937",
                "numpy.random._pcg64.PCG64",
                "numpy.random._pcg64.PCG64DXSM",
                "numpy.random._philox.Philox",
                "numpy.random._sfc64.SFC64",
                "numpy.random.bit_generator.SeedSequence",
                "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
            ),
            "an estimator keeps its random generator",
        ),
    ),
)

_SPARSE = {
    "bsr": "bsr_matrix bsr_array",
    "coo": "coo_matrix coo_array",
    "csc": "csc_matrix csc_array",
    "csr": "csr_matrix csr_array",
    "dia": "dia_matrix dia_array",
    "dok": "dok_matrix dok_array",
    "lil": "lil_matrix lil_array",
}

SCIPY_SPARSE = AllowList(
    "scipy.sparse",
    exact=(
        Entry(
            tuple(
                name
                for module, names in _SPARSE.items()
                for name in _each(f"scipy.sparse._{module}", names)
            ),
            "estimators fitted on sparse data keep some of it",
        ),
    ),
)
