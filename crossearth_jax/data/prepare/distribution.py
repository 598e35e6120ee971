"""What is published about the archives: sizes, MD5, terms and addresses."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One archive as its authors give it away.

    Attributes:
      name: of the file.
      bytes: its size, where it is known.
      md5: its MD5 in hexadecimal, where it is known.
      url: where a program may fetch it; None where a person accepts terms first.
    """

    name: str
    bytes: int | None = None
    md5: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Distribution:
    """How a data set is given away.

    Attributes:
      page: where.
      terms: its licence, or what its authors ask for.
      archives: those of which something is published.
    """

    page: str
    terms: str
    archives: tuple[Published, ...] = ()


_ISPRS = "https://www.isprs.org/resources/datasets/benchmarks/UrbanSemLab/default.aspx"
_ZENODO = "https://zenodo.org/records/5706578"
_VAIHINGEN = "ISPRS_semantic_labeling_Vaihingen"


def _loveda(name: str, size: int, md5: str, *, fetched: bool = True) -> Published:
    url = f"{_ZENODO}/files/{name}?download=1" if fetched else None
    return Published(name, size, md5, url)


DISTRIBUTIONS = {
    "potsdam": Distribution(
        _ISPRS,
        "research use only",
        (
            Published("Potsdam.zip", 13_324_219_686),
            Published("4_Ortho_RGBIR.zip", md5="c4a8f7d8c7196dd4eba4addd0aae10c1"),
        ),
    ),
    "vaihingen": Distribution(
        _ISPRS,
        "acknowledge the German Society for Photogrammetry (DGPF)",
        (
            Published(f"{_VAIHINGEN}.zip", md5="462b8dca7b6fa9eaf729840f0cdfc7f3"),
            Published(
                f"{_VAIHINGEN}_ground_truth_COMPLETE.zip",
                md5="4802dd6326e2727a352fb735be450277",
            ),
        ),
    ),
    "loveda": Distribution(
        _ZENODO,
        "CC BY-NC-SA 4.0",
        (
            _loveda("Train.zip", 4_021_669_263, "de2b196043ed9b4af1690b3f9a7d558f"),
            _loveda("Val.zip", 2_425_958_254, "84cae2577468ff0b5386758bb386d31d"),
            _loveda(
                "Test.zip",  # without labels
                3_126_023_212,
                "a489be0090465e01fb067795d24e6b47",
                fetched=False,
            ),
        ),
    ),
    "rescuenet": Distribution(
        "https://github.com/BinaLab/RescueNet-A-High-Resolution-Post-Disaster-UAV-"
        "Dataset-for-Semantic-Segmentation",
        "copies state CDLA-Permissive-1.0 or CC BY-NC-ND: see the page",
    ),
    "whu_building": Distribution(
        "https://gpcv.whu.edu.cn/data/building_dataset.html", "see the page"
    ),
    "deepglobe": Distribution(
        "https://www.kaggle.com/datasets/balraj98/deepglobe-road-extraction-dataset",
        "see the page",
    ),
    "massachusetts": Distribution(
        "https://www.cs.toronto.edu/~vmnih/data/", "see the page"
    ),
    "casid": Distribution("https://github.com/Linwei-Chen/CASID", "see the page"),
}
