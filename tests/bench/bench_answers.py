"""Answering in the documents' own words: is the answer in the first sentences quoted, and is the rest declined?

Run: python -m tests.bench.bench_answers [QUESTIONS]

QUESTIONS is the most that are taken from each set; without it all are.
"""

import sys
from collections.abc import Sequence

import numpy as np

from ruma.chat.answering import choose_support
from ruma.chat.evidence import choose_evidence
from ruma.chat.searching import find
from ruma.chat.understanding import Understood, understand
from ruma.config import load_settings
from ruma.models.embedder import Embedder, open_embedder
from ruma.tenant.tenant import Tenant
from tests.bench.question_sets import Question, halves, indexed, normalise, read_questions
