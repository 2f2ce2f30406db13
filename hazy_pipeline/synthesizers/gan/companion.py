"""A process that takes part in another one's training, on a device of its own.

`python -m hazy_pipeline.synthesizers.gan.companion RANK FILE`, where FILE is the number of an open file that
holds a `Job`. After each epoch it waits for a word of the first process, on standard input, and it ends with it.
"""

import os
import sys
import threading
from queue import SimpleQueue

import torch

from hazy_pipeline.synthesizers.gan.job import END, READY, Job
from hazy_pipeline.synthesizers.gan.trainer import quiet, tensor_cores, threads


def main() -> None:
    rank, file = int(sys.argv[1]), int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    words: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(words,), daemon=True).start()
    job, arrays = Job.read(file)
    os.close(file)
    module = job.module(arrays)
    with quiet(), threads(job.n_processes), tensor_cores():
        trainer = job.trainer(rank)

        def after_epoch() -> None:
            trainer.should_stop = words.get() == END

        module.after_epoch = after_epoch
        print(READY, file=answers, flush=True)
        trainer.fit(module)
    torch.distributed.destroy_process_group()


def _listen(words: "SimpleQueue[str]") -> None:
    """Pass the first process's words on; where it is gone, however it went, end at once, even amid a step."""
    for line in sys.stdin:
        words.put(line.strip())
    os._exit(1)


if __name__ == "__main__":
    main()
