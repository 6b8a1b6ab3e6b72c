"""What the model answers, loaded as TorchServe would: python -m unittest (or pytest)."""

import unittest
from pathlib import Path

from kserve_wrapper.archiver import ask, example

HERE = Path(__file__).resolve().parent


class TemplateNameTest(unittest.TestCase):
    def test_answers(self) -> None:
        ((status, answer),) = ask(HERE, example(HERE))
        self.assertEqual(status, 200)
        one, two = answer["predictions"]
        self.assertEqual(one["boxes"], [[8.0, 10.0, 20.0, 30.0]])
        self.assertEqual(sorted(two["boxes"]), [[1.0, 2.0, 9.0, 8.0], [20.0, 22.0, 31.0, 30.0]])


if __name__ == "__main__":
    unittest.main()
