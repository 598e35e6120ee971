"""Split lists, name suffixes and paths with commas."""

import pytest
from PIL import Image

from crossearth_jax.build_data import build_data
from crossearth_jax.data.folders import (
    find_pairs,
    outside_quotes,
    parse_domain,
    parse_domains,
)
from crossearth_jax.run_settings import read_settings


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def root(tmp_path):
    for name in ("t1", "t2", "t3"):
        touch(tmp_path / f"a/images/{name}.jpg", tmp_path / f"a/labels/{name}.png")
    return tmp_path


def names(text, suffix=""):
    return [pair.name for pair in parse_domain(str(text)).find_pairs(suffix)]


# ---- lists ---------------------------------------------------------------------------


def test_a_list_names_pairs(root):
    touch(root / "b" / "t 9.tif", root / "b" / "t1.tif")
    (root / "train.txt").write_text(
        "\ufeff# split one\na/images/t3.jpg a/labels/t3.png\r\n\n"
        'a/images/t1.jpg\ta/labels/t1.png\n"b/t 9.tif" a/labels/t2.png\n'
    )
    pairs = parse_domain(f"@{root}/train.txt").find_pairs()
    assert [pair.name for pair in pairs] == ["t3", "t1", "t 9"]
    assert pairs[0].image == root / "a/images/t3.jpg"
    assert pairs[2].label == root / "a/labels/t2.png"
    domains = parse_domains(f"nepal=@{root}/train.txt,{root}/a,kenya={root}/a")
    assert [domain.name for domain in domains] == ["nepal", "kenya"]
    assert len(domains[0].find_pairs()) == 6


def test_equal_names_in_a_list_get_their_folder(root):
    touch(root / "b" / "images" / "t1.jpg", root / "b" / "t1.jpg")
    lines = ["a/images/t1.jpg a/labels/t1.png", "b/t1.jpg a/labels/t2.png"]
    (root / "l.txt").write_text("\n".join(lines))
    assert names(f"@{root}/l.txt") == ["images.t1", "b.t1"]
    (root / "l.txt").write_text("\n".join([lines[0], lines[0]]))
    with pytest.raises(ValueError, match=r"l\.txt: got 'images.t1' twice"):
        names(f"@{root}/l.txt")


def test_a_list_chooses_from_folders(root):
    (root / "val.txt").write_text("t2\nt3.jpg\n")
    assert names(f"{root}/a@{root}/val.txt") == ["t2", "t3"]
    assert names(f"{root}/a/images:{root}/a/labels@{root}/val.txt") == ["t2", "t3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"l\.txt: cannot be read"),
        ("# nothing\n", r"l\.txt: got an empty list"),
        ("a/images/t1.jpg", r"l\.txt, line 1: got .*expected IMAGE LABEL"),
        ("\nx.jpg a/labels/t1.png", r"line 2: got .*x\.jpg, expected a file"),
        ('"a b', r"line 1: got '\"a b' \(No closing quotation\)"),
        ("\xff".encode("latin-1"), r"l\.txt: cannot be read"),
    ],
)
def test_bad_lists_name_the_line(root, text, message):
    if text is not None:
        data = text if isinstance(text, bytes) else text.encode()
        (root / "l.txt").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        names(f"@{root}/l.txt")


def test_unknown_names_in_a_list(root):
    (root / "l.txt").write_text("t1\nt7\n")
    with pytest.raises(
        ValueError, match=r"l\.txt, line 2: got 't7', expected the name"
    ):
        names(f"{root}/a@{root}/l.txt")


# ---- suffixes ------------------------------------------------------------------------


def test_labels_with_a_suffix(tmp_path):
    for name in ("a", "b"):
        touch(tmp_path / f"i/{name}.jpg", tmp_path / f"l/{name}_mask.png")
        touch(tmp_path / f"one/{name}.jpg", tmp_path / f"one/{name}_mask.png")
    for labels in ("i:l", "one:one"):
        images, labels = (tmp_path / part for part in labels.split(":"))
        pairs = find_pairs(images, labels, "_mask")
        assert [(p.name, p.label.name) for p in pairs] == [
            ("a", "a_mask.png"),
            ("b", "b_mask.png"),
        ]
    assert names(f"{tmp_path}/i:{tmp_path}/l", "_mask") == ["a", "b"]
    with pytest.raises(ValueError, match=r"data\.label_suffix which files are labels"):
        find_pairs(tmp_path / "one", tmp_path / "one")
    with pytest.raises(ValueError, match=r"got 2 labels without '_lab' at the end"):
        find_pairs(tmp_path / "i", tmp_path / "l", "_lab")
    touch(tmp_path / "one" / "c.jpg")
    with pytest.raises(ValueError, match=r"1 images without label \(e\.g\. c\)"):
        find_pairs(tmp_path / "one", tmp_path / "one", "_mask")


# ---- quotes --------------------------------------------------------------------------


def test_quotes_protect_what_separates(tmp_path):
    odd = tmp_path / "a, b: 12@x"
    touch(odd / "images/t.jpg", odd / "labels/t.png")
    assert names(f'"{odd}"') == ["t"]
    assert names(f'"{odd}/images":"{odd}/labels"') == ["t"]
    domains = parse_domains(f'x="{odd}",y="{odd}/images":"{odd}/labels"')
    assert [(d.name, len(d.find_pairs())) for d in domains] == [("x", 1), ("y", 1)]
    (tmp_path / "l, 1.txt").write_text("t\n")
    assert names(f'"{odd}"@"{tmp_path}/l, 1.txt"') == ["t"]
    with pytest.raises(ValueError, match="every double quote to be closed"):
        parse_domain(f'"{odd}')


def test_splitting_outside_quotes():
    assert outside_quotes('a,"b,c",d"e,f"g', ",") == ["a", '"b,c"', 'd"e,f"g']
    assert outside_quotes("", ",") == [""]


def test_a_run_reads_all_of_it(tiny_config, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "d, 1").mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "d, 1" / f"{name}.png")
        Image.new("L", (9, 9)).save(tmp_path / "d, 1" / f"{name}_mask.png")
    (tmp_path / "train.txt").write_text("b\n")
    folder = f'"{tmp_path}/d, 1":"{tmp_path}/d, 1"'
    config = tiny_config(
        **{
            "data.kind": "folder",
            "data.train": f"{folder}@{tmp_path}/train.txt",
            "data.unseen": f"all={folder}",
            "data.label_suffix": "_mask",
            "data.encoding": "mask255",
        }
    )
    data = build_data(read_settings(config).data)
    assert data.train.names == ("b",)
    assert data.domains[0].source.names == ("a", "b")
