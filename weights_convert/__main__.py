"""Converts a published checkpoint into a backbone, or a backbone into a file for PyTorch.

python -m weights_convert CHECKPOINT --output=backbone.safetensors
python -m weights_convert backbone.safetensors --to=torch --output=backbone_torch.safetensors
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from pointata_jax.errors import InputError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m weights_convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("checkpoint", help=".pth, .pt or .t7 (zip format of torch >= 1.6), or .safetensors")
    add("--output", required=True, help="the .safetensors file to write")
    add("--to", default="pointata", help="pointata (default), or torch for names of PyTorch code")
    add(
        "--format",
        default="auto",
        help="point_mae, pcp_mae, point_bert, point_jepa, recon, ulip, uni3d, torch_pointcloud, "
        "pointata; default: auto",
    )
    add("--report", help="a JSON file to write that lists every tensor and what became of it")
    add("--drop", metavar="REGEX", help="leave out tensors whose whole name matches")
    add("--key", help="the entry that holds the weights, dotted if nested; default: searched for")
    add("--prefix", help="start of the names of the wanted tensors; others are left out")
    add(
        "--num_heads", type=int, help="attention heads; default: the file's, or one for 64 channels"
    )
    add("--num_groups", type=int, help="patches per shape; default: the family's (64, 512)")
    add("--group_size", type=int, help="points per patch; default: the file's, or 32 or 64")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    args = _parser().parse_args(argv)
    # Imported late so that --help is fast.
    from weights_convert.convert import convert
    from weights_convert.recognize import Options

    try:
        report = convert(
            args.checkpoint,
            args.output,
            to=args.to,
            options=Options(**{f.name: getattr(args, f.name) for f in dataclasses.fields(Options)}),
            report=args.report,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
