"""`demure extract`: item texts, images, attributes, audio and video into features."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import Interrupted, command, view
from demure_cli.options import ChangedDataset, Device, On, RayWorkers, flag
from demure_cli.output.terminal import terminal

_MACHINE = "The machine"


@command(view("extract"))
def extract(
    dataset: ChangedDataset,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="ENCODER",
            help="The encoder of texts: family:model@revision, or tfidf (built in; tfidf:256 sets the number of"
            " dimensions, tfidf:keep-numbers keeps years and ids). NAME=ENCODER adds another;"
            " 'NAME=ENCODER\\[title,text]' reads only these columns.",
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image",
            metavar="ENCODER",
            help="The encoder of images: family:model@revision, or color (built in). NAME=ENCODER adds another.",
        ),
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option(
            "--attributes",
            metavar="COLUMNS",
            help="Columns of categories and numbers to encode (built in): brand,colour,price, or all."
            " NAME=COLUMNS adds another.",
        ),
    ] = None,
    audio: Annotated[
        list[str] | None,
        typer.Option(
            "--audio",
            metavar="ENCODER",
            help="The encoder of audio files: family:model@revision. NAME=ENCODER adds another.",
        ),
    ] = None,
    video: Annotated[
        list[str] | None,
        typer.Option(
            "--video",
            metavar="ENCODER",
            help="The encoder of video files, one of images: a few frames are encoded, and their vectors averaged."
            " NAME=ENCODER adds another.",
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="NAME",
            help="The prompt of a sentence: model to put before every text, by its name in the model's files; by"
            " default its prompt for documents.",
        ),
    ] = None,
    trust_remote_code: Annotated[
        bool,
        flag(
            "--trust-remote-code",
            help="Run the Python code in the folders of sentence: and vision: models. Read it first: it can do anything"
            " that you can. By default such models are refused.",
        ),
    ] = False,
    device: Device = "auto",
    resume: Annotated[
        bool,
        flag("--resume/--no-resume", help="Reuse what the same encoder has encoded before, or encode everything anew."),
    ] = True,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="TYPE",
            help="float32, bfloat16 or float16; auto is 16 bits on CUDA and float32 elsewhere.",
            rich_help_panel=_MACHINE,
        ),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="The number of processes that decode files; with --on ray for each worker, anywhere on the cluster.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    image_seconds: Annotated[
        float,
        typer.Option(
            "--image-seconds",
            min=0.1,
            metavar="SECONDS",
            help="The time limit for decoding one image, audio or video file; a slower one is recorded as missing.",
            rich_help_panel=_MACHINE,
        ),
    ] = 20.0,
    on: On = "local",
    ray_workers: RayWorkers = None,
) -> object:
    """Encode item texts, images, attributes, audio and video into features in the dataset folder.

    Without an option that names an encoder, the built-in ones run on the texts and images of the dataset.
    `demure extractors` lists the encoders. Under torchrun or accelerate launch, the processes share the work.
    """
    from pathlib import Path

    from demure.cluster.choose import open_executor
    from demure.compute.launcher import process_ranks
    from demure.extraction.extract import extract as extract_features

    terminal.configure(quiet=process_ranks().rank > 0)
    may_decode_files = bool(image or audio or video) or not (text or attributes)
    try:
        with (
            terminal.progress() as listener,
            open_executor(
                on, workers=ray_workers, device=device, listener=listener, helpers=may_decode_files
            ) as executor,
        ):
            return extract_features(
                Path(dataset),
                text=text,
                image=image,
                attributes=attributes,
                audio=audio,
                video=video,
                listener=listener,
                device=device,
                precision=precision,
                resume=resume,
                workers=workers,
                image_seconds=image_seconds,
                trust_remote_code=trust_remote_code,
                prompt=prompt,
                executor=executor,
            )
    except KeyboardInterrupt as stop:
        kept = f"{stop or 'what was encoded before'} is kept in {Path(dataset) / 'features'}"
        raise Interrupted(f"{kept}; the same command continues from there") from stop
