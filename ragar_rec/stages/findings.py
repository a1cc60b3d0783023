"""Findings of a ranker's diagnosis and of its generator's, where there is one, in the order of the waterfall."""

from __future__ import annotations

import pandas as pd

from ragar_rec.config.sections import EvaluationConfig
from ragar_rec.evaluation.diagnosis import Finding, findings
from ragar_rec.stages.diagnosis import Diagnosis
from ragar_rec.stages.generator_diagnosis import GeneratorDiagnosis


def joined_frame(diagnosis: Diagnosis, generator: GeneratorDiagnosis | None) -> pd.DataFrame:
    """The frames of both, one below the other."""
    frames = [diagnosis.frame] if generator is None else [diagnosis.frame, generator.frame]
    return pd.concat(frames, ignore_index=True)


def joined_findings(
    diagnosis: Diagnosis, generator: GeneratorDiagnosis | None, settings: EvaluationConfig
) -> tuple[Finding, ...]:
    """The findings of both.

    Args:
        diagnosis: of the ranker.
        generator: of the system; None if there is none.
        settings: length of the list, resamples and confidence of the intervals.
    """
    return findings(
        joined_frame(diagnosis, generator),
        metric=f"ndcg@{settings.k}",
        personal_share=diagnosis.personal_share,
        left_out={} if generator is None else generator.left_out,
        resamples=settings.resamples,
        confidence=settings.confidence,
    )
