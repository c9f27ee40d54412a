"""Reading the layouts of data sets: made trees of each, with what people's disks add to them."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from s2f_train.data.items import Identity, Source, SourceError, hash_split, joined
from s2f_train.data.s2f_data import clips
from s2f_train.prepare.sources import scan
from s2f_train.prepare.sources.avspeech import avspeech
from s2f_train.prepare.sources.librispeech import librispeech
from s2f_train.prepare.sources.portraits import portraits
from s2f_train.prepare.sources.s2f_tars import s2f_tars
from s2f_train.prepare.sources.utkface import utkface
from s2f_train.prepare.sources.vggface import vggface
from s2f_train.prepare.sources.voxceleb import voxceleb1, voxceleb2
from s2f_train.prepare.sources.wen import wen

VOX1 = (
    "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
    "id10001\tA.J._Buckley\tm\tIreland\tdev\n"
    "id10002\tA.R._Rahman\tm\tIndia\tdev\n"
    "id10003\tAamir_Khan\tm\tIndia\tdev\n"
    "id10004\tZoe_Bell\tf\tNew Zealand\ttest\n"
)
VOX2_PADDED = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000001 ,m ,dev \nid00017 ,n000012 ,f ,test \n"
VOX2_OLD = "VoxCeleb2 ID,VGGFace2 ID,Gender,Set\nid00012,n000001,m,dev\nid00017,n000012,f,test\n"
SPEAKERS = (
    ";comment | of | the file\n"
    "14   | F | train-clean-360  | 25.03 | Kristin LeMoine\n"
    "1688 | M | test-other       | 8.00  | J. | K. Quint\n"
)
VIDEO, OTHER = "-a_B1c2D3e4", "Zz0123456-_"


def tree(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def tar(path: Path, *files: str, mode: str = "w") -> Path:
    """A tar in which each member holds its own name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in files:
            member = tarfile.TarInfo(name)
            member.size = len(name.encode())
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


def names(source: Source, kind: str = "voice") -> list[str]:
    return [item.name for item in source.items if item.kind == kind]


def check(source: Source) -> None:
    """What every source promises."""
    keys = [(item.kind, item.name) for item in source.items]
    assert len(set(keys)) == len(keys)
    assert [item.name for item in source.items] == sorted(item.name for item in source.items)
    assert {item.identity for item in source.items} == set(source.identities)
    assert all(name == identity.name for name, identity in source.identities.items())
    assert all(item.source == source.name and Path(item.place.path).is_absolute() for item in source.items)


# VoxCeleb


def test_voxceleb1_takes_names_from_the_meta(tmp_path: Path) -> None:
    root = tree(tmp_path / "v", "wav/id10004/b-Video_id0/00002.wav", "wav/id10001/1zcIwhmdeo4/00001.WAV")
    found = voxceleb1(root, text(tmp_path / "vox1_meta.csv", VOX1))
    check(found)
    assert found.name == "voxceleb1"
    assert names(found) == ["id10001-1zcIwhmdeo4-00001", "id10004-b-Video_id0-00002"]
    assert found.identities == {
        "A.J._Buckley": Identity("A.J._Buckley", "m"),
        "Zoe_Bell": Identity("Zoe_Bell", "f"),
    }
    first = found.items[0]
    assert (first.kind, first.content, first.clip) == ("voice", "sound", "")
    assert first.place.path == str(root / "wav/id10001/1zcIwhmdeo4/00001.WAV")
    assert found.notes == ("Rows of vox1_meta.csv without a recording: 2 (id10002, id10003).",)


@pytest.mark.parametrize("meta", [VOX2_PADDED, VOX2_OLD, "\ufeff" + VOX2_OLD, VOX2_PADDED.replace(",", "\t")])
def test_voxceleb2_reads_each_form_of_its_meta(tmp_path: Path, meta: str) -> None:
    root = tree(tmp_path / "v", "dev/aac/id00012/21Uxsk56VDQ/00001.m4a", "test/aac/id00017/OLguY5ofUrY/00044.m4a")
    found = voxceleb2(root, text(tmp_path / "vox2_meta.csv", meta))
    check(found)
    assert found.identities == {"n000001": Identity("n000001", "m"), "n000012": Identity("n000012", "f")}
    assert names(found) == ["id00012-21Uxsk56VDQ-00001", "id00017-OLguY5ofUrY-00044"]


def test_a_video_may_look_like_an_id(tmp_path: Path) -> None:
    root = tree(tmp_path / "v", "id10001/id123456789/00001.wav")
    found = voxceleb1(root, text(tmp_path / "m.csv", VOX1))
    assert names(found) == ["id10001-id123456789-00001"]
    assert set(found.identities) == {"A.J._Buckley"}


def test_an_unknown_id_is_taken_by_its_id_and_noted(tmp_path: Path) -> None:
    root = tree(tmp_path / "v", "id10001/v/00001.wav", "id99999/v/00001.wav")
    found = voxceleb1(root, text(tmp_path / "m.csv", VOX1))
    check(found)
    assert found.identities["id99999"] == Identity("id99999")
    assert "Folders without a row in m.csv, taken without gender: 1 (id99999)." in found.notes


def test_a_converted_copy_and_strays_are_noted(tmp_path: Path) -> None:
    root = tree(tmp_path / "v", "id10001/v/1.m4a", "id10001/v/1.wav", "wav/id10001/v/1.wav", "loose.wav", "x/y.wav")
    found = voxceleb1(root, text(tmp_path / "m.csv", VOX1))
    assert [item.place.path for item in found.items] == [str(root / "id10001/v/1.m4a")]
    assert "Recordings there twice (taken: the first by path): 2 (id10001/v/1.wav, wav/id10001/v/1.wav)." in found.notes
    assert "Recordings outside of folders idXXXXX, left out: 2 (loose.wav, x/y.wav)." in found.notes


def test_hidden_files_are_no_recordings(tmp_path: Path) -> None:
    junk = ("._00001.wav", ".DS_Store", "Thumbs.db", ".cache/id10002/v/1.wav", "__MACOSX/id10002/v/1.wav")
    root = tree(tmp_path / "v", "id10001/v/00001.wav", *(f"id10001/v/{name}" for name in junk), *junk)
    found = voxceleb1(root, text(tmp_path / "m.csv", VOX1))
    assert names(found) == ["id10001-v-00001"]


def test_the_order_does_not_depend_on_the_disk(tmp_path: Path) -> None:
    files = [f"id1000{1 + i % 3}/v{i % 5}/{i:05}.wav" for i in range(60)]
    meta = text(tmp_path / "m.csv", VOX1)
    one = voxceleb1(tree(tmp_path / "one", *files), meta)
    two = voxceleb1(tree(tmp_path / "two", *files[::-1]), meta)
    check(one)
    assert names(one) == names(two)
    assert list(one.identities) == list(two.identities)


@pytest.mark.parametrize(
    ("files", "found"),
    [((), "has no such files"), (("a/b.txt",), "such as a/b.txt"), (("idx/v/1.mp3",), "idx/v/1.mp3")],
)
def test_a_folder_without_recordings_says_what_is_there(tmp_path: Path, files: tuple[str, ...], found: str) -> None:
    root = tree(tmp_path / "v", *files)
    root.mkdir(exist_ok=True)
    with pytest.raises(SourceError, match=rf"{found}.*Needed is idXXXXX/VIDEO/00001.wav"):
        voxceleb1(root, text(tmp_path / "m.csv", VOX1))


def test_a_missing_folder_or_a_file_is_told_apart(tmp_path: Path) -> None:
    meta = text(tmp_path / "m.csv", VOX1)
    with pytest.raises(SourceError, match=r"none does not exist\. Needed is a folder with idXXXXX"):
        voxceleb1(tmp_path / "none", meta)
    with pytest.raises(SourceError, match="is a file"):
        voxceleb1(meta, meta)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (VOX2_OLD, "no column VoxCeleb1 ID, VGGFace1 ID: its first line is 'VoxCeleb2 ID,VGGFace2 ID,Gender,Set'"),
        (VOX1.replace("Gender", "Sex"), "no column Gender"),
        ("", "no column VoxCeleb1 ID"),
        (VOX1.splitlines()[0] + "\n\n", "no rows"),
    ],
)
def test_another_meta_says_what_it_lacks(tmp_path: Path, content: str, why: str) -> None:
    root = tree(tmp_path / "v", "id10001/v/00001.wav")
    with pytest.raises(SourceError, match=re.escape(why)):
        voxceleb1(root, text(tmp_path / "m.csv", content))


def test_a_meta_that_is_missing_or_no_text(tmp_path: Path) -> None:
    root = tree(tmp_path / "v", "id10001/v/00001.wav")
    with pytest.raises(SourceError, match=r"m\.csv cannot be read: No such file"):
        voxceleb1(root, tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(SourceError, match="no UTF-8 text"):
        voxceleb1(root, tmp_path / "m.csv")


def test_the_meta_of_other_people_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "v", "id00012/v/00001.wav")
    with pytest.raises(SourceError, match=r"None of the folders.*id00012.*id10001"):
        voxceleb1(root, text(tmp_path / "m.csv", VOX1))


# What all readers share


def test_linked_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    disk = tree(tmp_path / "disk", "v/00001.wav")
    root = tree(tmp_path / "v", "id10002/v/00001.wav", "id10002/w/00001.wav")
    (root / "id10001").symlink_to(disk)
    (root / "id10002/up").symlink_to(root)
    (root / "id10002/v/across").symlink_to(root / "id10002/w")
    (root / "id10002/w/across").symlink_to(root / "id10002/v")
    (root / "self").symlink_to(root / "self")
    found = list(scan.files(str(root), (".wav",)))
    assert found == [
        "id10001/v/00001.wav",
        "id10002/v/00001.wav",
        "id10002/v/across/00001.wav",
        "id10002/w/00001.wav",
        "id10002/w/across/00001.wav",
    ]


def test_a_name_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    try:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/Beyonc\xe9"))).mkdir()
    except OSError:
        pytest.skip("This file system takes only UTF-8 names.")
    with pytest.raises(SourceError, match=r"Beyonc.*no UTF-8"):
        list(scan.files(str(tmp_path), (".jpg",)))


def test_names_stay_apart() -> None:
    given = scan.Names()
    paths = ("a/b-c.jpg", "a-b/c.jpg", "a/b-c.png", "d.jpg")
    found = [given.of(path) for path in paths]
    assert found[0] == "a-b-c"
    assert found[3] == "d"
    assert len(set(found)) == 4
    again = scan.Names()
    assert [again.of(path) for path in paths] == found


# VGGFace


def test_vggface_identity_is_the_first_folder(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "A.J._Buckley/00001.jpg",
        "A.J._Buckley/1.6/00001.JPEG",
        "n000166/0001_01.png",
        "n000166/0001_01.webp",
        "n000166/list.txt",
        "n000166/@eaDir/0001_01.png/thumb.jpg",
        "cover.jpg",
    )
    found = vggface(root)
    check(found)
    assert Counter(item.identity for item in found.items) == {"A.J._Buckley": 2, "n000166": 2}
    assert {(item.kind, item.content, item.view, item.clip) for item in found.items} == {
        ("face", "picture", "photo", "")
    }
    assert names(found, "face")[:3] == ["A.J._Buckley-00001", "A.J._Buckley-1.6-00001", "n000166-0001_01"]
    assert found.notes == ("Pictures outside of a person's folder, left out: 1 (cover.jpg).",)


def test_voices_and_faces_join_by_name(tmp_path: Path) -> None:
    letter = "Zo\u0065\u0308_Bell"  # as macOS writes it
    faces = vggface(tree(tmp_path / "faces", f"{letter}/1.jpg"))
    voices = voxceleb1(
        tree(tmp_path / "v", "id10004/v/1.wav"), text(tmp_path / "m.csv", VOX1.replace("Zoe", "Zo\u00eb"))
    )
    assert joined([faces, voices]) == {"Zo\u00eb_Bell": Identity("Zo\u00eb_Bell", "f")}


def test_vggface_refuses_splits_and_empty_folders(tmp_path: Path) -> None:
    root = tree(tmp_path / "f", "train/n000166/1.jpg", "test/n000167/1.jpg")
    with pytest.raises(SourceError, match=r"are test, train.*such as .*/f/test"):
        vggface(root)
    with pytest.raises(SourceError, match="a folder for each person"):
        vggface(tree(tmp_path / "g", "1.jpg"))


# Wen


def test_wen_keeps_people_with_both(tmp_path: Path) -> None:
    fbank = tree(tmp_path / "fbank", "id10001/v/1.npy", "id10002/v/1.npy", "Zoe_Bell/v/1.npy", "Nobody/1.npy", "x.npy")
    faces = tree(tmp_path / "faces", "A.J._Buckley/1.jpg", "Zoe_Bell/1.6/1.jpg", "Aamir_Khan/1.jpg", "Nobody/1.jpg")
    found = wen(fbank, faces, text(tmp_path / "m.csv", VOX1))
    check(found)
    assert found.identities == {
        "A.J._Buckley": Identity("A.J._Buckley", "m"),
        "Nobody": Identity("Nobody"),
        "Zoe_Bell": Identity("Zoe_Bell", "f"),
    }
    assert names(found) == ["Nobody-1", "Zoe_Bell-v-1", "id10001-v-1"]
    assert {item.content for item in found.items if item.kind == "voice"} == {"logmel"}
    assert {item.content for item in found.items if item.kind == "face"} == {"aligned"}
    assert found.notes == (
        "People with voices and without faces, left out: 1 (A.R._Rahman).",
        "People with faces and without voices, left out: 1 (Aamir_Khan).",
        "Log-mels outside of a speaker's folder, left out: 1 (x.npy).",
    )


def test_wen_without_files_or_without_a_common_person(tmp_path: Path) -> None:
    meta = text(tmp_path / "m.csv", VOX1)
    voices = tree(tmp_path / "fbank", "id10001/1.npy")
    faces = tree(tmp_path / "faces", "Aamir_Khan/1.jpg")
    with pytest.raises(SourceError, match=r"No one has both.*A\.J\._Buckley.*Aamir_Khan"):
        wen(voices, faces, meta)
    with pytest.raises(SourceError, match=r"such as Aamir_Khan/1\.jpg.*id10001/\*\*/\*\.npy"):
        wen(faces, faces, meta)
    with pytest.raises(SourceError, match=r"such as id10001/1\.npy.*aligned pictures"):
        wen(voices, voices, meta)


# AVSpeech


def test_avspeech_clips_with_their_faces(tmp_path: Path) -> None:
    clip, other = f"{VIDEO}_024.760000-029.960000", f"{OTHER}_1-2"
    root = tree(
        tmp_path,
        f"{clip}.ogg",
        f"{clip}.photo.jpg",
        f"{clip}.face.JPG",
        f"{clip}.s2f.jpg",
        f"{other}.M4A",
        f"{other}.png",
        f"{other}.jpg",
        "._x.jpg",
    )
    found = avspeech(root)
    check(found)
    assert set(found.identities) == {f"avspeech-{VIDEO}", f"avspeech-{OTHER}"}
    assert names(found) == [clip, other]
    faces = [item for item in found.items if item.kind == "face"]
    assert {(item.clip, item.view, item.content) for item in faces} == {
        (clip, "photo", "picture"),
        (clip, "face", "aligned"),
        (clip, "s2f", "aligned"),
        (other, "photo", "picture"),
    }
    assert len(faces) == 5
    assert found.notes == ()


def test_avspeech_clips_of_other_names(tmp_path: Path) -> None:
    root = tree(tmp_path, "anna_1.wav", "anna_1.jpg", "anna_2.wav", "bob.mp4", "_7.wav", "sub/bob.wav", "eve.jpg")
    found = avspeech(root)
    check(found)
    people = {item.name: item.identity for item in found.items if item.kind == "voice"}
    assert people == {
        "_7": "avspeech-_7",
        "anna_1": "avspeech-anna",
        "anna_2": "avspeech-anna",
        "bob": "avspeech-bob",
        "sub-bob": "avspeech-sub-bob",  # may be another bob
    }
    assert found.notes == (
        "Clips without a picture: 4 (_7, anna_2, bob, ...).",
        "Clips with pictures and without a sound: 1 (eve).",
    )


def test_avspeech_clips_are_one_in_all_folders(tmp_path: Path) -> None:
    clip = f"{VIDEO}_1-2"
    root = tree(tmp_path, f"sounds/{clip}.m4a", f"sounds/{clip}.wav", f"pictures/{clip}.jpg", f"wavs/{clip}.wav")
    found = avspeech(root)
    check(found)
    assert names(found) == [f"sounds-{clip}"]
    assert {item.clip for item in found.items} == {clip}
    assert len(found.notes) == 1
    assert found.notes[0].startswith("Sounds there twice (taken: the first by path): 2")


def test_avspeech_stretches_of_recordings(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "r",
        f"a/{VIDEO}.m4a",
        f"{OTHER}.webm",
        "never_used0.opus",
        f"faces/{VIDEO}_090.000000-095.500000.face.jpg",
    )
    times = text(
        tmp_path / "t.csv",
        f"{VIDEO},90.000000,95.500000,0.5,0.3\n{VIDEO},90.0,95.5,0.1,0.1\n{OTHER}, 0.0, 3.0, 0.5, 0.5\n"
        f"{OTHER},9.0,4.0,0.5,0.5\nnot_there00,1.0,4.0,0.1,0.1\nnonsense\n\n",
    )
    found = avspeech(root, times)
    check(found)
    voices = [item for item in found.items if item.kind == "voice"]
    assert [item.name for item in voices] == [f"{VIDEO}_90.000000-95.500000", f"{OTHER}_0.0-3.0"]
    assert (voices[0].place.start, voices[0].place.seconds) == (90.0, 5.5)
    assert voices[0].place.path == str(root / f"a/{VIDEO}.m4a")
    (face,) = [item for item in found.items if item.kind == "face"]
    assert (face.clip, face.view, face.identity) == (voices[0].clip, "face", f"avspeech-{VIDEO}")
    notes = "\n".join(found.notes)
    assert "Videos of t.csv without a recording: 1 (not_there00)." in notes
    assert "Recordings without a row in t.csv, left out: 1 (never_used0)." in notes
    assert "left out: 3 (line 4: " in notes
    assert "Rows of t.csv given again, left out: 1." in notes
    assert f"Clips without a picture: 1 ({OTHER}_0.0-3.0)." in notes


def test_avspeech_errors(tmp_path: Path) -> None:
    root = tree(tmp_path / "r", f"{VIDEO}.m4a")
    with pytest.raises(SourceError, match=r"has no rows 'youtube id, start s, end s, x, y': line 1: 'id,start,end'"):
        avspeech(root, text(tmp_path / "t.csv", "id,start,end\n"))
    with pytest.raises(SourceError, match="it is empty"):
        avspeech(root, text(tmp_path / "t.csv", ""))
    with pytest.raises(SourceError, match=rf"None of the 1 rows.*{OTHER}.*{VIDEO}"):
        avspeech(root, text(tmp_path / "t.csv", f"{OTHER},1,2,0,0\n"))
    with pytest.raises(SourceError, match=r"such as x\.jpg\. Needed is sounds NAME\.wav"):
        avspeech(tree(tmp_path / "p", "x.jpg"))


# LibriSpeech


@pytest.mark.parametrize("given", [".", "LibriSpeech", "LibriSpeech/test-other"])
def test_librispeech_from_each_level(tmp_path: Path, given: str) -> None:
    flac = "test-other/1688/142285/1688-142285-0000.flac"
    root = tree(tmp_path / "LibriSpeech", flac, "test-other/1688/142285/1688-142285.trans.txt")
    text(root / "SPEAKERS.TXT", SPEAKERS)
    found = librispeech(tmp_path / given)
    check(found)
    assert names(found) == ["1688-142285-0000"]
    assert found.items[0].place.path == str(root / flac)
    assert found.identities == {"librispeech-1688": Identity("librispeech-1688", "m")}
    assert found.notes == ()


def test_librispeech_notes(tmp_path: Path) -> None:
    root = tree(tmp_path, "a/14/1/14-1-0000.FLAC", "a/99/1/99-1-0000.flac", "b/14/1/14-1-0000.flac", "a/song.flac")
    text(root / "SPEAKERS.TXT", SPEAKERS)
    found = librispeech(root)
    check(found)
    assert found.identities["librispeech-14"].gender == "f"
    assert found.identities["librispeech-99"].gender == ""
    assert found.notes == (
        "Speakers without a row in SPEAKERS.TXT, taken without gender: 1 (librispeech-99).",
        "Recordings there twice (taken: the first by path): 1 (b/14/1/14-1-0000.flac).",
        "Recordings that are not named SPEAKER-CHAPTER-0000, left out: 1 (a/song.flac).",
    )


def test_librispeech_errors(tmp_path: Path) -> None:
    root = tree(tmp_path / "up/up/up", "14/1/14-1-0000.flac")
    with pytest.raises(SourceError, match=r"no SPEAKERS\.TXT in .*copy it there"):
        librispeech(root)
    text(root / "SPEAKERS.TXT", "nothing\n")
    with pytest.raises(SourceError, match="has no lines such as"):
        librispeech(root)
    with pytest.raises(SourceError, match=r"such as a\.wav\. Needed is SUBSET/SPEAKER"):
        librispeech(tree(tmp_path / "w", "a.wav"))


# UTKFace

UTK = (
    "30_0_2_20170116174525125.jpg.chip.jpg",
    "part2/1_1_4_20170116174525126.JPG",
    "25_m_00001.jpg",
    "39_1_20170116174525125.jpg.chip.jpg",
    "20_3_1_20170116174525127.jpg",
    "._25_m_00001.jpg",
)


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_utkface_reads_age_and_gender_from_names(tmp_path: Path, form: str) -> None:
    given = tree(tmp_path / "utk", *UTK) if form == "folder" else tar(tmp_path / "utk.tar", *UTK)
    found = utkface(given)
    check(found)
    assert found.identities == {
        "utkface-30_0_2_20170116174525125": Identity("utkface-30_0_2_20170116174525125", "m", 30.0),
        "utkface-1_1_4_20170116174525126": Identity("utkface-1_1_4_20170116174525126", "f", 1.0),
        "utkface-25_m_00001": Identity("utkface-25_m_00001", "m", 25.0),
    }
    assert {(item.kind, item.content) for item in found.items} == {("face", "picture")}
    assert found.notes == (
        "Pictures without age, gender, race and date in the name, left out: 2 "
        "(20_3_1_20170116174525127.jpg, 39_1_20170116174525125.jpg.chip.jpg).",
    )
    if form == "tar":
        assert {item.place.read().decode() for item in found.items} == set(UTK[:3])


def test_utkface_takes_a_picture_once(tmp_path: Path) -> None:
    found = utkface(tree(tmp_path, "UTKFace/25_m_1.jpg", "crop/25_m_1.jpg"))
    check(found)
    assert [item.place.path for item in found.items] == [str(tmp_path / "UTKFace/25_m_1.jpg")]
    assert found.notes == ("Pictures there twice (taken: the first by path): 1 (crop/25_m_1.jpg).",)


def test_utkface_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        utkface(tmp_path / "none")
    with pytest.raises(SourceError, match=r"such as cat\.jpg\. Needed is pictures age_gender_race_date"):
        utkface(tree(tmp_path / "cats", "cat.jpg"))
    with pytest.raises(SourceError, match="has no such files"):
        utkface(tar(tmp_path / "empty.tar", "readme.txt"))
    with pytest.raises(SourceError, match="uncompressed tar"):
        utkface(tar(tmp_path / "utk.tar.gz", *UTK, mode="w:gz"))
    whole = tar(tmp_path / "utk.tar", *UTK).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:700])
    with pytest.raises(SourceError, match=r"cut\.tar cannot be read as a tar"):
        utkface(tmp_path / "cut.tar")


# Portraits

WHO = "name,source,gender,age,identity,group\n"


def test_portraits_of_a_folder_without_a_csv(tmp_path: Path) -> None:
    (found,) = portraits(tree(tmp_path, "b.PNG", "a.webp", "deep/er/a.jpg", "a.jpg", ".hidden.jpg", "readme.txt"))
    check(found)
    assert found.name == "portraits"
    assert [item.name.partition("-")[0] for item in found.items] == ["a", "a", "b", "deep"]
    assert found.items[-1].name == "deep-er-a"
    assert {(item.kind, item.content, item.view, item.clip) for item in found.items} == {
        ("face", "portrait", "portrait", "")
    }
    assert found.identities == {
        item.identity: Identity(f"portraits-{item.name}") for item in found.items
    }  # each is someone else
    assert found.notes == ()


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_portraits_with_the_csv_that_lies_there(tmp_path: Path, form: str) -> None:
    files = ("x_1.webp", "x_2.webp", "y/z.jpg", "y/w.jpg", "odd.png")
    given = tree(tmp_path, *files) if form == "folder" else tar(tmp_path / "p.tar", *(f"./{name}" for name in files))
    rows = "x_1,synth,f,30.5,,asian\nx_2,synth,M,,,\nz,,m,200,Ann,\ny/w,portraits-real,,,Ann,\n"
    text(tmp_path / "who.csv", "\ufeff" + WHO + rows + "gone,synth,,,,\nx_1,synth,m,,,\n")
    text(tmp_path / "other.csv", "title,source\n")  # has no column `name`
    text(tmp_path / "._who.csv", WHO)
    sources = {source.name: source for source in portraits(given)}
    assert list(sources) == ["portraits", "portraits-real", "portraits-synth"]
    for source in sources.values():
        check(source)
    assert {name: names(source, "face") for name, source in sources.items()} == {
        "portraits": ["odd", "y-z"], "portraits-real": ["y-w"], "portraits-synth": ["x_1", "x_2"],
    }  # fmt: skip
    assert joined(sources.values()) == {
        "portraits-x_1": Identity("portraits-x_1", "f", 30.5),
        "portraits-x_2": Identity("portraits-x_2", "m"),
        "Ann": Identity("Ann", "m", 200.0),
        "portraits-odd": Identity("portraits-odd"),
    }
    assert sources["portraits"].notes == (
        "Pictures without a row in who.csv, taken: 1 (odd.png).",
        "Rows of who.csv without a picture: 1 (gone).",
        "Rows of who.csv given again, left out: 1 (x_1).",
    )
    assert sources["portraits-synth"].notes == sources["portraits-real"].notes == ()
    if form == "tar":
        assert sources["portraits-real"].items[0].place.read() == b"./y/w.jpg"


def test_portraits_with_a_named_csv(tmp_path: Path) -> None:
    root = tree(tmp_path / "p", "a.jpg", "b.jpg", "c.jpg")
    for name in ("one.csv", "two.csv"):
        text(root / name, "name,gender\na,f\n")
    (found,) = portraits(root)
    assert {who.gender for who in found.identities.values()} == {""}
    assert found.notes == ("CSVs of which none was taken; --portraits-csv names one: 2 (one.csv, two.csv).",)
    table = text(tmp_path / "t.csv", "person,name,age,gender\nAnn,a,30,f\nAnn,b,33,m\n,c,old,x\n,,1,f\n")
    (found,) = portraits(root, table)
    check(found)
    assert found.identities == {
        "Ann": Identity("Ann", "", 31.5),  # of two genders: perhaps two people
        "portraits-c": Identity("portraits-c"),
    }
    assert found.notes == ("Rows of t.csv with a gender or age that is none, taken without: 1 (c).",)


def test_portraits_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"does not exist. Needed is a folder with pictures"):
        portraits(tmp_path / "none")
    with pytest.raises(SourceError, match=r"such as x\.txt\. Needed is pictures \(jpg, png or webp\)"):
        portraits(tree(tmp_path / "texts", "x.txt"))
    with pytest.raises(SourceError, match="has no such files"):
        portraits(tar(tmp_path / "empty.tar", "readme.txt"))
    with pytest.raises(SourceError, match="uncompressed tar"):
        portraits(tar(tmp_path / "p.tar.gz", "a.jpg", mode="w:gz"))
    root = tree(tmp_path / "p", "a.jpg")
    with pytest.raises(SourceError, match=r"t\.csv cannot be read: No such file"):
        portraits(root, tmp_path / "t.csv")
    with pytest.raises(SourceError, match=r"has no column 'name' in its first line\. Needed are the columns name"):
        portraits(root, text(tmp_path / "t.csv", "file,gender\na,f\n"))
    with pytest.raises(SourceError, match="has no column 'name'"):
        portraits(root, text(tmp_path / "t.csv", ""))


def test_portraits_of_the_real_data(s2f_data: Path) -> None:
    sources = {source.name: source for source in portraits(s2f_data / "data" / "faces" / "faces.tar")}
    for source in sources.values():
        check(source)
        assert source.notes == ()
    assert sum(len(source.items) for source in sources.values()) == 4786
    assert len(sources["portraits-synth"].items) == 3530
    genders = Counter(who.gender for who in joined(sources.values()).values())
    assert genders == {"f": 2438, "m": 1092, "": 1256}
    assert sources["portraits-london"].items[0].place.read().startswith(b"RIFF")


# The tars of S2F_DATA


def made_data(root: Path) -> Path:
    head = "clip,video,split,p_male_face,p_male_photo,age_face,looped\n"
    rows = [
        f"{VIDEO}_1-2,{VIDEO},train,0.9,0.95,30.0,0",
        f"{VIDEO}_3-4,{VIDEO},train,0.5,0.95,33.0,0",
        f"{OTHER}_1-2,{OTHER},dev,0.1,0.05,20.0,0",
        f"{OTHER}_5-6,{OTHER},dev,0.9,0.95,50.0,0",
    ]
    text(root / "data/avspeech/clips.csv", head + "\n".join(rows) + "\n")
    one = f"{VIDEO}_1-2"
    files = (f"{one}.ogg", f"{one}.photo.jpg", f"{one}.face.jpg", f"{one}.s2f.jpg", f"{OTHER}_1-2.ogg")
    tar(root / "data/avspeech/avspeech.tar", *files, f"{OTHER}_5-6.ogg", "stray.ogg", f"._{one}.ogg")
    text(root / "data/librispeech/clips.csv", "clip,speaker,gender,subset,seconds\n14-1-0000,14,f,x,2.0\n")
    tar(root / "data/librispeech/librispeech.tar", "14-1-0000.ogg")
    voices = "clip,speaker,gender,age,corpus,seconds\nb-0,b-000,m,21,b,1.8\nc-0,c-000,,,c,1.8\n"
    text(root / "data/voices/clips.csv", voices)
    tar(root / "data/voices/voices.tar", "b-0.ogg", "c-0.ogg")
    tar(root / "data/utkface/utkface96.tar", "25_m_00001.jpg")
    return root


def test_s2f_tars_of_made_data(tmp_path: Path) -> None:
    found = {source.name: source for source in s2f_tars(made_data(tmp_path))}
    for source in found.values():
        check(source)
    assert list(found) == ["avspeech", "librispeech", "b", "c", "utkface"]
    first, second = f"avspeech-{VIDEO}", f"avspeech-{OTHER}"
    assert found["avspeech"].identities == {
        first: Identity(first, "m", 31.5, "valid" if hash_split(first) == "valid" else "train"),
        second: Identity(second, "", 35.0, "test"),  # sure of both genders: perhaps two people
    }
    assert found["avspeech"].notes == (
        f"Rows without a recording: 1 ({VIDEO}_3-4).",
        "Files in avspeech.tar without a row, left out: 1 (stray.ogg).",
    )
    assert found["b"].identities == {"b-b-000": Identity("b-b-000", "m", 21.0)}
    assert found["c"].identities == {"c-c-000": Identity("c-c-000")}
    assert found["librispeech"].identities == {"librispeech-14": Identity("librispeech-14", "f")}
    assert {item.clip for name in ("librispeech", "b", "utkface") for item in found[name].items} == {""}
    for item in found["avspeech"].items:
        assert item.place.read().decode().rpartition(".")[0] == item.name
        assert item.clip == item.name.removesuffix(f".{item.view}")


def test_s2f_tars_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        s2f_tars(tmp_path / "none")
    with pytest.raises(SourceError, match=r"avspeech/clips\.csv cannot be read: No such file.*needs data/"):
        s2f_tars(tmp_path)
    root = made_data(tmp_path)
    tar(root / "data/voices/voices.tar", "other.ogg")
    with pytest.raises(SourceError, match=r"voices\.tar has no recording of a row"):
        s2f_tars(root)
    text(root / "data/voices/clips.csv", "clip,gender\nb-0,m\n")
    with pytest.raises(SourceError, match="lacks a column or a value: 'speaker'"):
        s2f_tars(root)


def test_s2f_tars_of_the_real_data(s2f_data: Path) -> None:
    found = {source.name: source for source in s2f_tars(s2f_data)}
    for source in found.values():
        check(source)
        assert source.notes == ()
    views = Counter((item.kind, item.view, item.content) for item in found["avspeech"].items)
    assert views == {
        ("voice", "photo", "sound"): 968,
        ("face", "photo", "picture"): 968,
        ("face", "face", "aligned"): 968,
        ("face", "s2f", "aligned"): 968,
    }
    assert len(found["librispeech"].identities) == 261
    corpora = ("baved", "dspspeech", "poznan", "ravdess", "urdu")
    assert sum(len(found[corpus].items) for corpus in corpora) == 4362
    assert len(found["utkface"].items) == len(found["utkface"].identities) == 4_000

    real = clips(s2f_data)
    people = {item.name: item.identity for source in found.values() for item in source.items if item.kind == "voice"}
    assert people == {clip.name: clip.speaker for clip in real}
    known = joined(found.values())
    genders = {True: "m", False: "f"}
    assert all(known[clip.speaker].gender == genders[clip.male] for clip in real if clip.male is not None)
    assert {known[clip.speaker].split == "test" for clip in real if clip.dev} == {True}
    assert not any(known[clip.speaker].split == "test" for clip in real if not clip.dev)
    split = Counter(person.split for person in found["avspeech"].identities.values())
    assert split["train"] > 10 * split["valid"] > 0

    for name in ("avspeech", "utkface", "ravdess"):
        for item in found[name].items[:: len(found[name].items) // 5]:
            head = b"OggS" if item.kind == "voice" else b"\xff\xd8\xff"
            assert item.place.read().startswith(head)
