"""Who a rank says it is: certificates, identities and what is missing, in words."""
import shutil
import warnings

import pytest

from conftest import issue_job, write_certificate


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("FOLDER", "CERT", "KEY", "CA", "IDENTITIES", "STORE", "HOST"):
        monkeypatch.delenv(f"MUSTER_C10D_{name}", raising=False)
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)


def find(**arguments):
    import muster_c10d
    return muster_c10d.Identity.find(**arguments)


def refused(**arguments):
    with pytest.raises(ValueError) as caught:
        find(**arguments)
    return str(caught.value)


def test_a_folder_of_the_ca_is_enough(monkeypatch, certificates):
    monkeypatch.setenv("MUSTER_C10D_FOLDER", str(certificates))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    found = find()
    assert (found.rank, found.world_size, found.job, found.generation) == (1, 3, "demo", 2)
    assert found.identities == [f"muster://job/demo/rank-{rank}" for rank in range(3)]


def test_arguments_come_before_the_environment(monkeypatch, certificates):
    monkeypatch.setenv("MUSTER_C10D_CERT", "/nowhere.pem")
    found = find(rank=2, world_size=3, certificate=certificates / "rank-{rank}.pem",
                 key=str(certificates / "rank-{rank}.key"), authority=certificates / "ca.pem")
    assert found.rank == 2


def test_a_group_of_some_ranks_has_their_identities(monkeypatch, certificates):
    monkeypatch.setenv("MUSTER_C10D_FOLDER", str(certificates))
    found = find(rank=0, world_size=2, global_ranks=[2, 0])
    assert found.identities == ["muster://job/demo/rank-2", "muster://job/demo/rank-0"]


def test_what_is_missing_is_named(monkeypatch, certificates, tmp_path):
    assert "RANK is not set" in refused()
    assert "WORLD_SIZE is not set" in refused(rank=0)
    assert "rank 3 of 3" in refused(rank=3, world_size=3)
    words = refused(rank=0, world_size=3)
    assert "no certificate" in words and "muster ca issue-job" in words and "MUSTER_C10D_CERT" in words
    monkeypatch.setenv("MUSTER_C10D_FOLDER", str(tmp_path))
    assert "rank-0.pem" in refused(rank=0, world_size=3)
    (tmp_path / "rank-0.pem").write_text("no certificate")
    (tmp_path / "rank-0.key").write_text("no key")
    shutil.copy(certificates / "ca.pem", tmp_path)
    assert "no certificate in PEM form" in refused(rank=0, world_size=3)
    monkeypatch.setenv("WORLD_SIZE", "three")
    assert "WORLD_SIZE=three is no number" in refused(rank=0)


def test_a_certificate_of_another_rank_is_not_used(monkeypatch, certificates):
    monkeypatch.setenv("MUSTER_C10D_FOLDER", str(certificates))
    monkeypatch.setenv("MUSTER_C10D_CERT", str(certificates / "rank-0.pem"))
    words = refused(rank=1, world_size=3)
    assert "carries muster://job/demo/rank-0, but rank 1 must be muster://job/demo/rank-1" in words


@pytest.mark.parametrize("begins, ends, words", [
    (-7200, -3600, "has expired 60 minutes ago"), (3600, 7200, "valid only in 60 minutes; is this machine's clock right?")])
def test_a_certificate_out_of_its_time_is_not_used(tmp_path, certificates, begins, ends, words):
    write_certificate(tmp_path / "rank-0", "muster://job/demo/rank-0", begins, ends)
    assert words in refused(rank=0, world_size=1, certificate=tmp_path / "rank-0.pem", key=tmp_path / "rank-0.key",
                            authority=certificates / "ca.pem")


def test_a_certificate_about_to_expire_warns(tmp_path, certificates):
    files = {"certificate": tmp_path / "rank-0.pem", "key": tmp_path / "rank-0.key", "authority": certificates / "ca.pem"}
    write_certificate(tmp_path / "rank-0", "muster://job/demo/rank-0", -60, 7210)
    with pytest.warns(UserWarning, match="expires in 2 hours"):
        find(rank=0, world_size=1, **files)
    write_certificate(tmp_path / "rank-0", "muster://job/demo/rank-0", -60, 48 * 3600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find(rank=0, world_size=1, **files)


def test_identities_of_one_s_own_ca(monkeypatch, tmp_path):
    write_certificate(tmp_path / "node", "spiffe://example.org/node-b", -60, 7 * 86400)
    shutil.copy(tmp_path / "node.pem", tmp_path / "ca.pem")
    files = {"certificate": tmp_path / "node.pem", "key": tmp_path / "node.key", "authority": tmp_path / "ca.pem"}
    assert "names no job" in refused(rank=2, world_size=4, **files)
    roster = tmp_path / "roster"
    roster.write_text("".join(f"spiffe://example.org/node-{name}\n" for name in "aabb"))  # one certificate for each machine
    monkeypatch.setenv("MUSTER_C10D_IDENTITIES", str(roster))
    assert find(rank=2, world_size=4, **files).identities[1] == "spiffe://example.org/node-a"
    assert "carries spiffe://example.org/node-b, but rank 1" in refused(rank=1, world_size=4, **files)
    assert "4 identities for at least 5 ranks" in refused(rank=2, world_size=5, **files)
    monkeypatch.setenv("MUSTER_C10D_IDENTITIES", "/no/such/file")
    assert "list of identities cannot be read" in refused(rank=2, world_size=4, **files)


def test_issue_job_keeps_what_is_there_and_no_key_of_the_ca(tmp_path):
    folder = issue_job(tmp_path / "job", ranks=2)
    assert sorted(file.name for file in folder.iterdir()) == ["ca.pem", "rank-0.key", "rank-0.pem", "rank-1.key", "rank-1.pem"]
    assert all((folder / f"rank-{rank}.key").stat().st_mode & 0o077 == 0 for rank in range(2))
    with pytest.raises(Exception, match="returned non-zero exit status 4"):
        issue_job(folder)
