"""VisA, DAGM, Magnetic Tile and Kolektor as they are published, and the traps of their copies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import grow, kinds, mask

from blemish.data import categories, open_data
from blemish.data.dagm import _flags
from blemish.errors import ConfigError, DataError, ImageError
from blemish.images import read_mask

HEAD = "object,split,label,image,mask\n"


def visa(root: Path, name: str = "candle", table: str | None = "split_csv/1cls.csv") -> Path:
    """An object of VisA: two images to train on, one good and one bad to test."""
    images, masks = f"{name}/Data/Images", f"{name}/Data/Masks"
    grow(root, *(f"{images}/Normal/000{n}.JPG" for n in range(3)), f"{images}/Anomaly/000.JPG")
    grow(root, f"{masks}/Anomaly/000.png", f"{name}/image_anno.csv")
    if table:
        rows = [
            f"{name},train,normal,{images}/Normal/0000.JPG,",
            f"{name},test,normal,{images}/Normal/0001.JPG,",
            f"{name},train,normal,{images}/Normal/0002.JPG,",
            f"{name},test,anomaly,{images}/Anomaly/000.JPG,{masks}/Anomaly/000.png",
        ]
        write(root / table, HEAD + "\n".join(rows) + "\n")
    return root / name


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("table", ["split_csv/1cls.csv", "1cls.csv"])
def test_visa_is_split_by_its_table(tmp_path: Path, table: str) -> None:
    data = open_data(visa(tmp_path, table=table))
    assert data.layout == "visa"
    assert [s.image.name for s in data.train] == ["0000.JPG", "0002.JPG"]
    assert [(s.image.name, s.defect_type, s.mask and s.mask.name) for s in data.test] == [
        ("000.JPG", "anomaly", "000.png"),
        ("0001.JPG", "good", None),
    ]
    assert {s.split for s in data.train} == {"train"}
    assert data.notes == ()


def test_visa_masks_of_class_indices_mark_what_is_not_zero(tmp_path: Path) -> None:
    root = visa(tmp_path)
    mask(root / "Data/Masks/Anomaly/000.png", 5, value=3)
    (defect,) = (sample for sample in open_data(root).test if sample.is_defect)
    assert defect.mask is not None
    assert read_mask(defect.mask, (6, 8)).sum() == 5


def test_visa_without_its_table_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither .*split_csv.1cls\.csv nor .*spot-diff"):
        open_data(visa(tmp_path, table=None))


def test_visa_tables_with_bom_and_lower_case_copies(tmp_path: Path) -> None:
    root = visa(tmp_path)
    table = tmp_path / "split_csv" / "1cls.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    (root / "Data/Images/Normal/0001.JPG").rename(root / "Data/Images/Normal/0001.jpg")
    grow(root, "Data/Images/Normal/0099.JPG")
    data = open_data(root)
    assert kinds(data.test) == {"anomaly": 1, "good": 1}
    assert "images that" in data.notes[0]
    assert data.notes[0].endswith("does not name, not used: 1.")


def test_visa_from_inside_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(visa(tmp_path))
    assert len(open_data(".").train) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "pcb1,train,normal,pcb1/x.JPG,\n", "rows of the object candle, but it has those"),
        ("object,split\ncandle,train\n", "label, image, mask is missing"),
        (HEAD + "candle,train,anomaly,candle/Data/Images/Anomaly/000.JPG,\n", "which is anomaly"),
        (
            HEAD + "candle,train,normal,candle/Data/Images/Normal/77.JPG,\n",
            r"77\.JPG must be there",
        ),
        (HEAD + "candle,train,normal,candle/../../secret.png,\n", "must be there"),
        (HEAD + "candle,train,normal\n", "must be there"),
        (HEAD + "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,\n", "must be there"),
        (HEAD + 2 * "candle,train,normal,candle/Data/Images/Normal/0000.JPG,\n", "twice"),
    ],
)
def test_visa_tables_that_are_wrong(tmp_path: Path, text: str, said: str) -> None:
    root = visa(tmp_path)
    write(tmp_path / "split_csv" / "1cls.csv", text)
    with pytest.raises(DataError, match=said):
        open_data(root)


def test_visa_table_that_is_no_text(tmp_path: Path) -> None:
    root = visa(tmp_path)
    (tmp_path / "split_csv" / "1cls.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(DataError, match="CSV file in UTF-8"):
        open_data(root)


def test_visa_once_prepared_is_read_as_mvtec(tmp_path: Path) -> None:
    for name in ("candle", "pcb1"):
        grow(tmp_path, f"1cls/{name}/train/good/1.JPG", f"1cls/{name}/test/bad/1.JPG")
        grow(tmp_path, f"1cls/{name}/test/good/2.JPG", f"1cls/{name}/ground_truth/bad/1.png")
    assert [name for name, _ in categories(tmp_path)] == ["1cls/candle", "1cls/pcb1"]
    data = open_data(tmp_path / "1cls" / "candle")
    assert (data.layout, kinds(data.test)) == ("mvtec", {"bad": 1, "good": 1})
    assert data.test[0].mask == tmp_path / "1cls/candle/ground_truth/bad/1.png"


# DAGM


def dagm(root: Path, ending: str = ".PNG") -> Path:
    """A class with 2 clean and 1 defective image in Train, 1 and 2 in Test."""
    for split, numbers, bad in (("Train", (4, 5, 6), (5,)), ("Test", (1, 2, 3), (1, 3))):
        grow(root, *(f"{split}/{n:04}{ending}" for n in numbers), f"{split}/Label/Labels.txt")
        grow(root, *(f"{split}/Label/{n:04}_label{ending}" for n in bad))
        rows = "".join(
            f"{n}\t{int(n in bad)}\t{n:04}.PNG\t0\t{f'{n:04}_label.PNG' if n in bad else 0}\n"
            for n in numbers
        )
        (root / split / "Label" / "Labels.txt").write_text("\ufeff1\n" + rows, encoding="utf-8")
    return root


@pytest.mark.parametrize("inside", ["Class1", "Class1/Class1"])
@pytest.mark.parametrize("ending", [".PNG", ".png"])
def test_dagm_trains_on_clean_images_of_train_alone(
    tmp_path: Path, inside: str, ending: str
) -> None:
    dagm(tmp_path / inside, ending)
    data = open_data(tmp_path / "Class1")
    assert data.layout == "dagm"
    assert [s.image.name for s in data.train] == [f"0004{ending}", f"0006{ending}"]
    assert kinds(data.test) == {"defect": 2, "good": 1}
    assert [s.mask and s.mask.name for s in data.test] == [
        f"0001_label{ending}",
        None,
        f"0003_label{ending}",
    ]
    assert data.notes == (f"{tmp_path / inside / 'Train'}: defective images not used: 1.",)


def test_dagm_label_files_decide_and_the_list_is_told(tmp_path: Path) -> None:
    root = dagm(tmp_path / "Class7")
    (root / "Test" / "Label" / "0003_label.PNG").unlink()
    data = open_data(root)
    assert kinds(data.test) == {"defect": 1, "good": 2}
    assert any("contradicts the label files for 1 images, like 0003.PNG" in n for n in data.notes)


def test_dagm_without_defects_in_one_half_or_without_a_list(tmp_path: Path) -> None:
    root = grow(tmp_path / "Class2", "Train/1.PNG", "Test/2.PNG", "Test/Label/2_label.PNG")
    data = open_data(root)
    assert (len(data.train), kinds(data.test), data.notes) == (1, {"defect": 1}, ())
    half = grow(tmp_path / "Class3", "Test/2.PNG", "Test/Label/2_label.PNG")
    assert len(open_data(half).train) == 0


def test_dagm_label_without_its_image_names_both(tmp_path: Path) -> None:
    root = grow(dagm(tmp_path / "Class1"), "Test/Label/0009_label.PNG")
    with pytest.raises(DataError, match=r"0009_label\.PNG must be the label .*Test.0009\.\*"):
        open_data(root)


def test_dagm_without_images(tmp_path: Path) -> None:
    root = grow(tmp_path / "Class1", "Train/Label/Labels.txt")
    with pytest.raises(DataError, match="none was found"):
        open_data(root)


@given(st.text() | st.just("1\t1\t0001.PNG\t0\t0"))
def test_any_list_is_survived(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "Labels.txt"
    file.write_bytes(text.encode("utf-16" if len(text) % 2 else "utf-8", "surrogatepass"))
    assert set(_flags(file).values()) <= {True, False}


# Magnetic Tile


def tile(root: Path) -> Path:
    grow(root, *(f"MT_Free/Imgs/exp1_num_{n}.{end}" for n in (1, 2) for end in ("jpg", "png")))
    for kind in ("Blowhole", "Break", "Crack", "Fray", "Uneven"):
        grow(root, *(f"MT_{kind}/Imgs/exp2_num_3.{end}" for end in ("jpg", "png")))
    return grow(root, "readme.md", "MT_Notes/readme.txt")


def test_magnetic_tile_as_published(tmp_path: Path) -> None:
    data = open_data(tile(tmp_path))
    assert data.layout == "magnetic_tile"
    want = {"blowhole": 1, "break": 1, "crack": 1, "fray": 1, "good": 2, "uneven": 1}
    assert kinds(data.test) == want
    assert [s.image for s in data.train] == [s.image for s in data.test if not s.is_defect]
    assert all(s.image.suffix == ".jpg" for s in data.test)
    assert {s.mask.suffix if s.mask else None for s in data.test if s.is_defect} == {".png"}
    assert {s.mask for s in data.train} == {None}


@pytest.mark.parametrize(
    ("lost", "said"), [("jpg", "png must be the mask"), ("png", "have a mask")]
)
def test_magnetic_tile_without_a_partner(tmp_path: Path, lost: str, said: str) -> None:
    tile(tmp_path)
    (tmp_path / f"MT_Crack/Imgs/exp2_num_3.{lost}").unlink()
    with pytest.raises(DataError, match=said):
        open_data(tmp_path)


def test_magnetic_tile_without_good_parts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none was found"):
        open_data(grow(tmp_path, "MT_Free/Imgs/readme.txt"))


# Kolektor


def kolektor(root: Path) -> Path:
    for item, part, marked in (("kos01", 0, 0), ("kos01", 5, 4), ("kos02", 0, 0)):
        grow(root, f"{item}/Part{part}.jpg")
        mask(root / item / f"Part{part}_label.bmp", marked)
    return root


def test_kolektor_reads_its_labels(tmp_path: Path) -> None:
    data = open_data(kolektor(tmp_path))
    assert data.layout == "kolektor"
    assert [s.image.relative_to(tmp_path).as_posix() for s in data.train] == [
        "kos01/Part0.jpg",
        "kos02/Part0.jpg",
    ]
    assert kinds(data.test) == {"defect": 1, "good": 2}
    assert data.test[1].mask == tmp_path / "kos01" / "Part5_label.bmp"


def test_kolektor_partners_and_damage(tmp_path: Path) -> None:
    root = grow(kolektor(tmp_path), "kos02/Part1.jpg")
    with pytest.raises(DataError, match=r"Part1\.jpg must have a label.* no .*Part1_label\.\*"):
        open_data(root)
    grow(root, "kos02/Part1_label.bmp")
    with pytest.raises(ImageError, match="empty"):
        open_data(root)


def test_kolektor2_leaves_defects_of_train_out(tmp_path: Path) -> None:
    for split, number, marked in (
        ("train", 1, 0), ("train", 2, 3), ("test", 3, 0), ("test", 4, 9),
    ):  # fmt: skip
        grow(tmp_path, f"{split}/{number}.png")
        mask(tmp_path / split / f"{number}_GT.png", marked)
    data = open_data(tmp_path)
    assert data.layout == "kolektor2"
    assert [s.image.name for s in data.train] == ["1.png"]
    assert kinds(data.test) == {"good": 1, "defect": 1}
    assert data.notes == (f"{tmp_path / 'train'}: defective images not used: 1.",)


# which layout


def test_a_root_of_several_names_them(tmp_path: Path) -> None:
    visa(tmp_path / "VisA", "candle")
    visa(tmp_path / "VisA", "pcb1", table=None)
    dagm(tmp_path / "DAGM" / "Class1" / "Class1")
    dagm(tmp_path / "DAGM" / "Class10")
    for root, names in (("VisA", ["candle", "pcb1"]), ("DAGM", ["Class1", "Class10"])):
        assert [name for name, _ in categories(tmp_path / root)] == names
        with pytest.raises(DataError, match=f"it holds {', '.join(names)}. Choose one"):
            open_data(tmp_path / root)
    assert categories(tmp_path / "VisA" / "candle") == ()
    with pytest.raises(DataError, match="does not exist"):
        categories(tmp_path / "nowhere")


def test_layout_can_be_said(tmp_path: Path) -> None:
    grow(tmp_path, "test/1.png", "x/2.png")
    assert open_data(grow(tmp_path / "y", "a/1.png"), layout="images").layout == "images"
    with pytest.raises(DataError, match="must have one folder of good parts, but it has none"):
        open_data(tmp_path, layout="types")
    with pytest.raises(ConfigError, match=r"but is 'viza'\. Did you mean visa\?"):
        open_data(tmp_path, layout="viza")


@pytest.mark.parametrize(
    "layout", ["dagm", "mvtec3d", "rgbd", "eyecandies", "magnetic_tile", "kolektor", "kolektor2"]
)
def test_a_layout_that_is_not_there_is_refused(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DataError, match="none was found"):
        open_data(grow(tmp_path, "a/1.png"), layout=layout)
