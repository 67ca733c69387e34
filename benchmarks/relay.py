"""The process in between: it starts the Go program, and prints the program's output.

The original's script had more imports. This one imports only what it needs.
"""

import subprocess
import sys


def main() -> int:
    """Run the command line given as arguments."""
    done = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
