"""A Kernel in threads, forked processes and copies; cache of compiled code missing, full or damaged."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from equilif_golden import compiled
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from tests.programs import python

NET = Network.chain(64, 30, 5)
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (400, 64)).astype(np.uint8)
Y = RNG.integers(0, 5, 400)
MANY = 20  #: repetitions of X: some tenths of a second of training


def same(a, b):
    return all((a[name] == w).all() for name, w in b.items())


def run(code, **environment):
    """Output of a program in a separate process, since a fork here would copy pytest."""
    return python(code, **environment).stdout.strip()


BEGIN = """
import multiprocessing, os, sys, threading, time
import numpy as np
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
net = Network.chain(64, 30, 5)
rng = np.random.default_rng(0)
x = rng.integers(0, 256, (400, 64)).astype(np.uint8)
y = rng.integers(0, 5, 400)
kernel = Kernel(net, learning_rate=0.01, threads=4)
kernel.train(x[:3], y[:3])
predicted = kernel.predict(x)
"""


def test_fork_after_batch():
    """A forked process waits for no threads."""
    code = """
with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map_async(kernel.predict, [x, x]).get(120)
assert all((p == predicted).all() for p in found)
child = os.fork()
if not child:
    kernel.train(x, y)
    os._exit(0 if (kernel.predict(x) >= 0).all() else 1)
assert os.waitpid(child, 0)[1] == 0
print("done", threading.active_count())
"""
    assert run(BEGIN + code) == "done 1"


def test_fork_while_thread_trains():
    """The new process lacks the thread that holds the lock; its weights are those before training."""
    code = """
before = {n: w.copy() for n, w in kernel.weights.items()}
counter = kernel.counter
training = threading.Thread(target=kernel.train, args=(np.tile(x, (50, 1)), np.tile(y, 50)))
training.start()
while not kernel._lock._lock.locked():
    time.sleep(0.001)
child = os.fork()
if not child:
    same = all((kernel.weights[n] == w).all() for n, w in before.items()) and kernel.counter == counter
    alone = Kernel(net, before, learning_rate=0.01, counter=counter)
    alone.train(x, y)
    kernel.train(x, y)
    same &= all((kernel.weights[n] == w).all() for n, w in alone.weights.items())
    os._exit(0 if same else 1)
alive = training.is_alive()
assert os.waitpid(child, 0)[1] == 0
training.join()
print("done", alive)
"""
    assert run(BEGIN + code) == "done True"


def test_concurrent_training_loses_no_update():
    """All threads use the same sample, since their order is undefined."""
    alone = Kernel(NET, learning_rate=0.05)
    together = Kernel(NET, learning_rate=0.05)
    for _ in range(8 * 200):
        alone.train(X[:1], Y[:1])
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda _: [together.train(X[:1], Y[:1]) for _ in range(200)], range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert sum(len(epochs) for epochs in done) == 8 * 200
    assert together.counter == alone.counter == 8 * 200 * 4
    assert same(together.weights, alone.weights)


def test_readers_see_consistent_kernel():
    """Training commits at once: whoever reads the weights from before has read all else from before."""
    kernel = Kernel(NET, learning_rate=0.01)
    kernel.train(X[:1], Y[:1])
    before, rates, counter = kernel.weights, kernel.settle(X[:9]).rates, kernel.counter
    x, y = np.tile(X, (MANY, 1)), np.tile(Y, MANY)
    seen, others = 0, []
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(kernel.train, x, y)
        while not training.done():
            found = kernel.counter, kernel.settle(X[:9]).rates, kernel.weights
            if same(found[2], before):
                assert found[0] == counter and (found[1] == rates).all()
                seen += 1
            else:
                others.append(found[2])
    assert seen > 3
    assert all(same(weights, kernel.weights) for weights in others)
    assert kernel.counter == counter + 4 * len(x) and not same(kernel.weights, before)


def test_sample_changed_during_training():
    """Labels, order and rows are indices: compiled code uses checked copies."""
    kernel = Kernel(NET, learning_rate=0.01)
    order = np.arange(len(X)).repeat(MANY)
    labels = Y.copy()
    expected = Kernel(NET, learning_rate=0.01)
    expected.train(X, Y, order)
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(kernel.train, X, labels, order)
        while not kernel._lock._lock.locked():
            time.sleep(0.0005)
        order[:] = 1 << 40
        labels[:] = 1 << 40
        training.result()
    assert same(kernel.weights, expected.weights)


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
@pytest.mark.parametrize("n", [0, 1, 2, 32, 33, 64, 100])
def test_threads_do_not_change_results(threads, n):
    before = threading.active_count()
    alone, shared = (Kernel(NET, threads=k).settle(X[:n]) for k in (1, threads))
    assert all((a == b).all() for a, b in zip(alone, shared, strict=True))
    assert threading.active_count() == before


def test_single_thread_starts_none(monkeypatch):
    def refused(*_):
        raise AssertionError("a thread was started")

    monkeypatch.setattr("equilif_golden.kernel.ThreadPoolExecutor", refused)
    Kernel(NET, threads=1).predict(X)
    Kernel(NET, threads=8).predict(X[:1])
    with pytest.raises(AssertionError, match="thread"):
        Kernel(NET, threads=8).predict(X)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))])
def test_copy_is_independent(again):
    kernel = Kernel(NET, learning_rate=0.01, counter=7)
    kernel.train(X[:5], Y[:5])
    twin = again(kernel)
    assert twin.counter == kernel.counter and same(twin.weights, kernel.weights)
    before = kernel.weights
    twin.train(X, Y)
    assert same(kernel.weights, before) and kernel.counter == 7 + 5 * 4
    kernel.train(X, Y)
    assert same(kernel.weights, twin.weights) and kernel.counter == twin.counter


def test_interrupted_training_changes_nothing(monkeypatch):
    kernel = Kernel(NET, learning_rate=0.01)
    before = kernel.weights

    def interrupted(program, memories, *_):
        memories.w[:] = 0
        raise KeyboardInterrupt

    monkeypatch.setattr("equilif_golden.kernel.execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kernel.train(X, Y)
    monkeypatch.undo()
    assert same(kernel.weights, before) and kernel.counter == 0
    assert kernel.train(X[:1], Y[:1]).samples == 1


def test_ctrl_c_during_load():
    """Loading runs callbacks from LLVM, where an exception would abort the process."""
    code = """
import os, signal
from numba.core.caching import FunctionCache
load = FunctionCache.load_overload
loaded = []
def interrupted(self, *args):
    os.kill(os.getpid(), signal.SIGINT)
    loaded.append(load(self, *args))
    return loaded[-1]
FunctionCache.load_overload = interrupted
try:
""" + BEGIN.replace("\n", "\n    ")
    code += """
except KeyboardInterrupt:
    print(loaded != [], signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    assert run(code) == "True True"


@pytest.mark.regress
def test_kernel_without_cache():
    """A read-only installation and no home folder."""
    code = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n" + BEGIN
    code += """
from equilif_golden.reference import Reference
from equilif_golden import executor
assert type(executor.execute._cache).__name__ == "NullCache"
print((predicted == Reference(net, kernel.weights).infer(x).prediction).all())
"""
    assert run(code, NUMBA_CACHE_DIR="") == "True"


SMALL = """
from equilif_golden.compiled import compiled

@compiled
def twice(x):
    return 2 * x
"""
#: prints the result and the number of cache hits
USE = (
    "import sys; sys.path.insert(0, {!r}); from small import twice; "
    "print(twice(21), len(twice.stats.cache_hits))"
)


@pytest.fixture
def small(tmp_path):
    """A module with one compiled function."""
    (tmp_path / "small.py").write_text(SMALL)
    return tmp_path


def test_cache_on_full_disk(small):
    """Files are limited to 500 bytes."""
    limits = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limits += "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)); "
    for _ in range(2):
        assert run(limits + USE.format(str(small)), NUMBA_CACHE_DIR="") == "42 0"
    assert not list(small.rglob("*.nbc"))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"no such file", None])
def test_damaged_cache_is_rewritten(small, ending, content):
    """None: truncated."""
    use = USE.format(str(small))
    assert [run(use, NUMBA_CACHE_DIR="") for _ in range(2)] == ["42 0", "42 1"]
    (path,) = small.rglob(f"*.{ending}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert [run(use, NUMBA_CACHE_DIR="") for _ in range(2)] == ["42 0", "42 1"]


def test_number_of_threads():
    code = BEGIN + "import numba; print(kernel._threads, Kernel(net)._threads, threading.active_count())\n"
    code += "try: print(numba.threading_layer())\nexcept ValueError: print('none')"
    assert run(code, NUMBA_NUM_THREADS="3").split() == ["4", "3", "1", "none"]


def test_compilation_is_announced_once_to_a_person(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    compiled.announce.cache_clear()
    compiled.announce()
    compiled.announce()
    assert capsys.readouterr().err.count("\n") == 1
