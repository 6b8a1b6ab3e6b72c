"""What the model answers, loaded as TorchServe would: python -m unittest (or pytest)."""

import unittest
from pathlib import Path

from kserve_wrapper.archiver import ask, example

HERE = Path(__file__).resolve().parent


class TemplateNameTest(unittest.TestCase):
    def test_answers(self) -> None:
        row = example(HERE)["instances"]
        told, scaled, refused = ask(
            HERE,
            {"instances": row},
            {"instances": row, "parameters": {"factor": 10}},
            {"instances": row, "parameters": {"factor": -1}},
        )
        self.assertEqual((told[0], scaled[0], refused[0]), (200, 200, 400))
        # 2 * 1 - 2 + 4 / 2 + 1
        self.assertAlmostEqual(told[1]["predictions"][0], 3.0, places=4)
        self.assertAlmostEqual(scaled[1]["predictions"][0], 30.0, places=3)
        self.assertIn("factor", refused[1]["error"])


if __name__ == "__main__":
    unittest.main()
