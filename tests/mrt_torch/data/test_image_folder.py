"""Images in folders. Oracle: the files that were made, and their order by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.data import ImageFolderDataset
from mrt_torch.data.preprocessing import imagenet_input
from mrt_torch.errors import InvalidFileError, MRTError
from tests.mrt_torch.data.written_files import encoded_image, random_pixels

pytest.importorskip("PIL.Image", reason="Pillow, which decodes images, is not installed")
SHAPE = (2, 3, 7, 7)


def put(root, *names: str):
    for seed, name in enumerate(names):
        path = root / "image_folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded_image(random_pixels(9, 11, 3, seed=seed)))
    return root / "image_folder"


def listed(root, content: str | bytes):
    path = put(root, "a.png", "b.png", "sub/c.png") / "labels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_class_is_the_rank_of_its_folder(tmp_path):
    put(tmp_path, "zebra/10.png", "zebra/9.PNG", "ant/b.png", "ant/a/z.png", "Bee/x.png", ".hidden/x.png")
    (tmp_path / "image_folder" / "ant" / "notes.txt").write_text("no image")
    dataset = ImageFolderDataset(SHAPE, root=tmp_path)
    names = [path.relative_to(tmp_path / "image_folder").as_posix() for path in dataset.files]
    assert names == ["Bee/x.png", "ant/a/z.png", "ant/b.png", "zebra/10.png", "zebra/9.PNG"]
    assert torch.cat([labels for _, labels in dataset.batches()]).tolist() == [0, 1, 1, 2, 2]
    assert dataset.labels.dtype == torch.int64


def test_inputs_are_preprocessed_as_for_imagenet(tmp_path):
    """Oracle: the pixels that were written, preprocessed directly."""
    put(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    inputs = torch.cat([inputs for inputs, _ in ImageFolderDataset(SHAPE, root=tmp_path).batches()])
    expected = [imagenet_input(random_pixels(9, 11, 3, seed=seed), 7) for seed in range(3)]
    assert torch.equal(inputs, torch.stack(expected))


@pytest.mark.parametrize("content", [
    "file,label\nb.png,3\nsub/c.png,0\na.png,3\n",
    "\ufefflabel,name,file\r\n3,x,b.png\r\n\r\n0,\"y,z\",sub/c.png\r\n3,,a.png"])
def test_a_list_gives_order_and_classes(tmp_path, content):
    listed(tmp_path, content)
    dataset = ImageFolderDataset(SHAPE, root=tmp_path)
    assert [path.name for path in dataset.files] == ["b.png", "c.png", "a.png"]
    assert [label.item() for _, label in dataset] == [3, 0, 3]


@pytest.mark.parametrize(("content", "why", "line"), [
    ("", "its columns are None", 1), ("file;label\na.png;1\n", "its columns are", 1), ("file,label\n", "no images", 1),
    ("file,label\na.png,1\nd.png,1\n", "there is no .*d.png", 3), ("file,label\na.png,-1\n", "no whole number", 2),
    ("file,label\na.png,1.5\n", "no whole number", 2), ("file,label\na.png\n", "no whole number", 2),
    ("file,label\n,1\n", "no path inside", 2), ("file,label\n../x.png,1\n", "no path inside", 2),
    ("file,label\n/etc/x.png,1\n", "no path inside", 2), ("file,label\na.png,1\na.png,2\n", "line 2 has 'a.png'", 3),
    (b"file,label\n\xff.png,1\n", "can't decode", 1), ('file,label\n"a.png,1\n', "unexpected end", 1),
    ("file,label\na\0.png,1\n", None, None), (f"file,label\n{'x' * 5000}.png,1\n", None, None),
])
def test_a_damaged_list_is_refused_with_its_line(tmp_path, content, why, line):
    path = listed(tmp_path, content)
    with pytest.raises(InvalidFileError, match=why) as caught:
        ImageFolderDataset(SHAPE, root=tmp_path)
    assert line is None or caught.value.where == f"{path}, line {line}"
    assert "labels.csv" in caught.value.remedy


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40) | st.lists(st.sampled_from(
    [b"file", b"label", b",", b"\n", b"a.png", b"1", b'"', b"..", b"/"])).map(b"".join))
def test_any_list_is_read_or_refused(tmp_path_factory, content):
    """Oracle: nothing but classes from 0 and MRTError comes out."""
    listed(root := tmp_path_factory.mktemp("list"), content)
    try:
        assert ImageFolderDataset(SHAPE, root=root).labels.min() >= 0
    except MRTError:
        pass


def test_a_damaged_image_is_refused_with_its_path(tmp_path):
    folder = put(tmp_path, "a/1.png")
    (folder / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(InvalidFileError) as caught:
        ImageFolderDataset(SHAPE, root=tmp_path)[0]
    assert caught.value.where == str(folder / "a" / "1.png")


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(InvalidFileError, match="folder of the data set 'image_folder' is missing"):
        ImageFolderDataset(SHAPE, root=tmp_path)
    folder = put(tmp_path, "flat.png")
    with pytest.raises(InvalidFileError, match="no classes of images"):
        ImageFolderDataset(SHAPE, root=tmp_path)
    (folder / "empty").mkdir()
    with pytest.raises(InvalidFileError, match="a class has no images") as caught:
        ImageFolderDataset(SHAPE, root=tmp_path)
    assert caught.value.where == str(folder / "empty")
