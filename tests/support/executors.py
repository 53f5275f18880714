"""Executors for tests that need no cluster."""

import pickle
from itertools import cycle

from demure.cluster.executor import LOCAL, MeetingPoint
from demure.cluster.worker import SentTask, Worker
from demure.progress import silent


class PickledExecutor:
    """Does the parts by workers in this process, to which tasks, parts and results travel pickled, as to a cluster."""

    is_local = False

    def __init__(self, workers=2):
        self.workers, self.parts, self.tasks = workers, 0, 0

    def helpers(self, processes=None):
        return LOCAL

    def map(self, task, parts, listener=silent):
        self.tasks += 1
        sent = pickle.dumps(SentTask.of(self.tasks, task))
        received = [pickle.loads(sent) for _ in range(self.workers)]
        workers = cycle(zip([Worker(64) for _ in range(self.workers)], received, strict=True))
        for part, (worker, copy) in zip(parts, workers, strict=False):
            self.parts += 1
            yield pickle.loads(pickle.dumps(worker.work(copy, pickle.loads(pickle.dumps(part)))))

    def run_together(self, task, parts, lost):
        assert self.workers == 1, "a group needs a process for each part"
        (part,) = parts(0, MeetingPoint("127.0.0.1", 0))
        return list(self.map(task, [part]))
