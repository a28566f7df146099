# Code that a model has just produced, evaluated without a file.
gvisor-exec -- python3 <<'P'
import os, socket
print(sum(range(10)))
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError as e:
    print("network:", e.strerror)
print("pid", os.getpid())
P
