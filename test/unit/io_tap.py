"""TAP for Python tests: functions registered with @test run in order, each in its own name."""
import sys
import traceback

tests = []


def test(function):
    tests.append(function)
    return function


class Skip(Exception):
    pass


def run():
    """Runs all, or those whose name holds one of the arguments; returns the exit status."""
    wanted = sys.argv[1:]
    chosen = [t for t in tests if not wanted or any(w in t.__name__ for w in wanted)]
    failed = 0
    print("1..%d" % len(chosen))
    for number, function in enumerate(chosen, 1):
        name = function.__name__.replace("_", " ")
        try:
            function()
            print("ok %d - %s" % (number, name))
        except Skip as reason:
            print("ok %d - %s # SKIP %s" % (number, name, reason))
        except BaseException:
            failed += 1
            print("not ok %d - %s" % (number, name))
            for line in traceback.format_exc().splitlines():
                print("# " + line)
        sys.stdout.flush()
    return 1 if failed else 0
