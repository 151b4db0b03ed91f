"""Small scripts, each with a way to end, to print or to look around that a launcher could get wrong."""

SCRIPTS = {
    "exit_3": """
import sys
print('x')
sys.exit(3)
""",
    "exit_text": """
import sys
sys.exit('goodbye')
""",
    "exit_none": """
import sys
sys.exit()
""",
    "exit_big": """
import sys
sys.exit(256 + 7)
""",
    "os_exit_4": """
import os, sys
print('x')
sys.stdout.flush()
os._exit(4)
""",
    "exception": """
def f(x):
    return 1 / x
print('x')
f(0)
""",
    "chain": """
def f():
    try:
        {}['a']
    except KeyError as e:
        raise ValueError('b') from e
try:
    f()
except ValueError:
    raise RuntimeError('c')
""",
    "recursion": """
def f():
    f()
f()
""",
    "syntax_error": """
print('x'
""",
    "missing_import": """
import no_such_package_at_all
""",
    "failing_threading": """
import threading
def f():
    raise ValueError('t')
t = threading.Thread(target=f)
t.start()
t.join()
""",
    "interrupt_self": """
import os, signal
os.kill(os.getpid(), signal.SIGINT)
import time
time.sleep(9)
""",
    "terminate_self": """
import os, signal
os.kill(os.getpid(), signal.SIGTERM)
import time
time.sleep(9)
""",
    "kill_self": """
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
""",
    "abort": """
import os, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.abort()
""",
    "stdin": """
import sys
print(sys.stdin.read()[::-1], input if False else '')
""",
    "warnings": """
import warnings
warnings.warn('careful')
warnings.warn('old', DeprecationWarning)
""",
    "own_excepthook": """
import sys
sys.excepthook = lambda t, v, tb: print('mine', t.__name__, v)
raise ValueError('z')
""",
    "chained_excepthook": """
import sys
old = sys.excepthook
def hook(*a):
    print('before', flush=True)
    old(*a)
sys.excepthook = hook
raise ValueError('z')
""",
    "own_stdout": """
import io, sys
real = sys.stdout
sys.stdout = io.StringIO()
print('a')
real.write(sys.stdout.getvalue() * 2)
""",
    "closed_stdout": """
import sys
print('a', flush=True)
sys.stdout.close()
""",
    "no_environment": """
import os, subprocess, sys
os.environ.clear()
print(subprocess.run([sys.executable, '-c', 'print(5)'], capture_output=True, text=True).stdout)
""",
    "at_exit": """
import atexit, pickle
class C:
    x = 1
atexit.register(lambda: print(pickle.loads(pickle.dumps(C())).x))
print('first')
""",
    "failing_at_exit": """
import atexit
atexit.register(lambda: 1 / 0)
""",
    "third_party": """
import sys
ours = {'trimtab', '__main__', 'sitecustomize'}
print(sorted({n.partition('.')[0] for n in sys.modules} - set(sys.stdlib_module_names) - ours))
""",
    "fork_children": """
import os
for i in range(3):
    pid = os.fork()
    if not pid:
        os._exit(i + 5)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
    "fork_child_exits": """
import os, sys
pid = os.fork()
if not pid:
    sys.exit(6)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
    "pool_fork": """
import multiprocessing as m
def f(x):
    return x * x
if __name__ == '__main__':
    with m.get_context('fork').Pool(2) as p:
        print(p.map(f, range(5)))
""",
    "spawn": """
import multiprocessing as m, sys
def f(q):
    q.put((__name__, sys.argv, sys.path[0]))
if __name__ == '__main__':
    c = m.get_context('spawn')
    q = c.Queue()
    p = c.Process(target=f, args=(q,))
    p.start()
    print(q.get())
    p.join()
    print(p.exitcode)
""",
    "failing_fork_process": """
import multiprocessing as m
def f():
    raise SystemExit(9)
if __name__ == '__main__':
    p = m.get_context('fork').Process(target=f)
    p.start()
    p.join()
    print(p.exitcode)
""",
    "subprocess_python": """
import subprocess, sys
print(subprocess.run([sys.executable, '-c', 'raise SystemExit(8)']).returncode)
""",
    "shell_python": """
import os, sys
print(os.waitstatus_to_exitcode(os.system(f'{sys.executable} -c "print(1); raise SystemExit(2)"')))
""",
    "execv": """
import os, sys
print('a', flush=True)
os.execv(sys.executable, [sys.executable, '-c', 'print(7); raise SystemExit(5)'])
""",
    "find_spec": """
import importlib.util
for n in ('torch', 'lightning.pytorch' if False else 'json', 'threading', 'nope_nope'):
    s = importlib.util.find_spec(n)
    print(n, s and s.origin)
""",
    "reload": """
import importlib, threading
m = importlib.reload(threading)
print(m is threading, type(threading.__loader__).__name__)
""",
    "descriptors": """
import os
print(sorted(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else 0)
""",
    "signals": """
import signal
for name in ('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGCHLD', 'SIGPIPE', 'SIGUSR1'):
    print(name, signal.getsignal(getattr(signal, name)))
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
""",
    "broken_pipe": """
import os, sys
r, w = os.pipe()
os.close(r)
os.dup2(w, 1)
print('x' * 10)
""",
    "unraisable": """
class A:
    def __del__(self):
        1 / 0
A()
""",
    "generator": """
import asyncio
async def f():
    await asyncio.sleep(0)
    print('a')
asyncio.run(f())
""",
}
