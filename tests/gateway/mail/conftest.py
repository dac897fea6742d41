"""Property tests of mail run without a deadline: a machine that is busy is no defect."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("mail", deadline=None)
hypothesis.settings.load_profile("mail")
