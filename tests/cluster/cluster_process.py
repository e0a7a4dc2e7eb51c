"""One program of a control plane as a process: started, paused, killed and never left behind.

A process is known by a pidfd, so a signal can't reach another process that got its number later.
One that a test run started dies with that run, even when the run is killed: the kernel sends it
SIGKILL once its parent is gone. To the kernel the parent is the *thread* that forked, so one thread
that ends only with the interpreter starts them all, and a test may ask for it from any thread. One
that a command line started is on its own until `cluster down`.
"""

import functools
import os
import queue
import select
import signal
import threading
import time
from concurrent.futures import Future

# SIGKILL leaves a program nothing to do; longer than this means a kernel that is badly stuck.
DEADLINE_TO_DIE = 20


class ProcessError(Exception):
    """A program could not be started or ended; the text says what to do about it."""


class Process:
    """A program that runs in the cluster's directory: log in logs/NAME.log, number in pids/NAME."""

    def __init__(self, name, directory):
        self.name = name
        self.directory = directory
        self.log = directory / "logs" / f"{name}.log"
        self.pid_file = directory / "pids" / name
        self.pid = None
        self._pidfd = None

    def start(self, command, detached):
        """Starts the command: detached, or bound to live no longer than this interpreter."""
        if self.alive():
            raise ProcessError(f"{self.name} runs already (pid {self.pid}): kill it first")
        self._close()
        self.log.parent.mkdir(exist_ok=True)
        self.pid_file.parent.mkdir(exist_ok=True)
        if detached:
            self.pid = _spawn(command, self.log)
        else:
            bound = ["setpriv", "--pdeathsig", "KILL", "--", *command]
            self.pid = in_lasting_thread(functools.partial(_spawn, bound, self.log))
        self._pidfd = os.pidfd_open(self.pid)
        self.pid_file.write_text(f"{self.pid}\n")

    def attach(self):
        """Finds the process that another interpreter started, by its pid file, if it still runs."""
        self._close()
        try:
            pid = int(self.pid_file.read_text())
            pidfd = os.pidfd_open(pid)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return
        # Looked at only after the pidfd is held, so it's the command line of what gets the signals.
        if _belongs_to(pid, self.directory):
            self.pid, self._pidfd = pid, pidfd
        else:
            os.close(pidfd)

    def alive(self):
        return self._pidfd is not None and not _readable(self._pidfd, 0)

    def pause(self):
        """Stops the process where it is: its connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self):
        self._signal(signal.SIGCONT)

    def kill(self):
        """Kills the process and waits until it is gone; does nothing when there is none."""
        if self._pidfd is not None:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
            if not _readable(self._pidfd, DEADLINE_TO_DIE):
                raise ProcessError(
                    f"{self.name} (pid {self.pid}) outlives SIGKILL by {DEADLINE_TO_DIE} s: "
                    f"look at /proc/{self.pid}/stack, the kernel holds it"
                )
            self._close()
        self.pid_file.unlink(missing_ok=True)

    def log_tail(self, lines=25):
        """The end of the log, indented, for an error message."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            return "    (it wrote no log)"
        return "\n".join(f"    {line[:300]}" for line in text.splitlines()[-lines:])

    def _signal(self, number):
        if not self.alive():
            raise ProcessError(f"{self.name} does not run: start it first")
        signal.pidfd_send_signal(self._pidfd, number)

    def _close(self):
        """Forgets the process, and reaps it if it is a child that ended."""
        if self._pidfd is not None:
            try:
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                pass
            os.close(self._pidfd)
        self.pid = self._pidfd = None


def wait_until(condition, deadline, pause=0.03):
    """Calls the condition until it is true; False once the deadline (time.monotonic) passes."""
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def environment():
    """The environment for the programs: what is on this machine is never behind a proxy. Memory is
    cheaper here than processor time, so their garbage is collected a quarter as often.
    """
    ours = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return {"GOGC": "400", **ours}


def _spawn(command, log):
    """Starts the command in a session of its own, so that a terminal's Ctrl-C doesn't reach it."""
    command = [str(argument) for argument in command]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return os.posix_spawnp(
            command[0],
            command,
            environment(),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            # A test runner's blocked or ignored signals aren't the programs' business.
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE],
        )
    except FileNotFoundError:
        raise ProcessError(
            f"{command[0]} can't be run: build it with tests/cluster/build, or install util-linux "
            "if it is setpriv"
        ) from None


def _belongs_to(pid, directory):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(f"{directory}/") in file.read()
    except FileNotFoundError:
        return False


def _readable(pidfd, timeout):
    """Whether the process has ended, waiting for it up to `timeout` seconds."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


_work = None


def in_lasting_thread(call):
    """What the call returns or raises, made in a thread that ends only with the interpreter."""
    global _work
    if _work is None:
        _work = queue.SimpleQueue()
        threading.Thread(target=_run_calls, args=(_work,), daemon=True, name="spawner").start()
    future = Future()
    _work.put((future, call))
    return future.result()


def _run_calls(work):
    while True:
        future, call = work.get()
        try:
            future.set_result(call())
        except BaseException as error:  # handed to the thread that asked
            future.set_exception(error)


def _forget_thread():
    global _work
    _work = None


# A fork copies the queue but not the thread that serves it.
os.register_at_fork(after_in_child=_forget_thread)
