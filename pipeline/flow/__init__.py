"""The stages of dvc.yaml as a Prefect flow: `pipeline.flow:synthesize_to_learn`, or `s2l flow run`."""

from pipeline.flow.flow import synthesize_to_learn

__all__ = ["synthesize_to_learn"]
