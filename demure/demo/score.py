"""Where the scoring of a diagnosis used to live; now ``demure.diagnosis.truth``, so that a report can use it."""

from demure.diagnosis.truth import KEY, DiagnosisScore, auc, calibration_error, log_loss, score_diagnosis

__all__ = ["KEY", "DiagnosisScore", "auc", "calibration_error", "log_loss", "score_diagnosis"]
