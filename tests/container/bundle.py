# SPDX-License-Identifier: MIT
"""An OCI bundle of the image, as Docker and Podman make one with --cap-drop=ALL --security-opt=no-new-privileges --read-only."""
import importlib.machinery
import importlib.util
import json
import subprocess
import tarfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
PROFILES = {"docker": Path("/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json"),
            "podman": Path("/usr/share/containers/seccomp.json")}
HIDDEN = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
STRICT = ["nosuid", "noexec", "nodev"]


def load_program(name: str):
    loader = importlib.machinery.SourceFileLoader(name, str(Path(__file__).resolve().parent / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def unpack(archive: Path, to: Path) -> dict:
    """The image's root file system as to/rootfs; its configuration."""
    with tarfile.open(archive) as image:
        def blob(digest):
            return image.extractfile("blobs/" + digest.replace(":", "/"))
        manifest = json.load(blob(json.load(image.extractfile("index.json"))["manifests"][0]["digest"]))
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=blob(layer["digest"])) as files:
                files.extractall(to / "rootfs", numeric_owner=True)
        return json.load(blob(manifest["config"]["digest"]))["config"]


def write(bundle: Path, root: Path, config: dict, seccomp: dict | None, *, network: str, arguments=(), mounts=(), pids=2048, memory=None,
          without=(), ids=None, environment=(), bounding=(), held=()) -> None:
    """without: places where nothing is mounted. ids: the host's id that root of a user namespace is. bounding, held: capabilities."""
    uid, gid = map(int, config["User"].split(":"))
    standard = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": STRICT},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*STRICT, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*STRICT, "relatime", "ro"]},
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": [*STRICT, "mode=1777"]}]
    namespaces = [{"type": name} for name in ("pid", "ipc", "uts", "mount")] + [{"type": "network", "path": network}]
    linux = {"namespaces": namespaces, "maskedPaths": HIDDEN, "readonlyPaths": READ_ONLY, "cgroupsPath": f"/{bundle.name}",
             "resources": {"devices": [{"allow": False, "access": "rwm"}], "pids": {"limit": pids}}}
    if memory is not None:
        linux["resources"]["memory"] = {"limit": memory}
    if ids is not None:
        namespaces.append({"type": "user"})
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": ids, "size": 65536}]
    if seccomp is not None:
        linux["seccomp"] = seccomp
    capabilities = {"bounding": list({*bounding, *held}), "effective": list(held), "permitted": list(held), "inheritable": [], "ambient": []}
    (bundle / "config.json").write_text(json.dumps({
        "ociVersion": "1.0.2", "hostname": "cloister", "root": {"path": str(root), "readonly": True},
        "process": {"args": [*config["Entrypoint"], *arguments], "env": [*config["Env"], *environment], "cwd": config["WorkingDir"],
                    "user": {"uid": uid, "gid": gid}, "capabilities": capabilities, "noNewPrivileges": True},
        "mounts": [mount for mount in standard if not mount["destination"].startswith(tuple(without))] + list(mounts), "linux": linux}))


def get_image(directory: Path, *built: Path) -> tuple[dict, str]:
    """Makes the image of what is built there, and unpacks it into that directory."""
    said = subprocess.run([SOURCE / "packaging/container/build", *built], check=True, stdout=subprocess.PIPE, text=True).stdout
    return unpack(SOURCE / "build/container/cloister.tar", directory), said.strip()
