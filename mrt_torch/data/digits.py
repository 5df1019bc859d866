"""The images that come with the package."""

from __future__ import annotations

from mrt_torch.data.dataset import Batch, DatasetInParts, register_dataset


@register_dataset("digits")
class DigitsDataset(DatasetInParts):
    """The embedded handwritten digits: 449 for test, or 256 for calibration and training; inputs (N, 1, 8, 8) in 0..1.

    ``root`` is accepted as for other data sets, and not used.
    """

    def _check_shape(self) -> None:
        self._require_shape(self.input_shape[1:] == (1, 8, 8), "(N, 1, 8, 8)")

    def _load_data(self) -> None:
        from mrt_torch.demo.digits import load_digits  # the demo imports the whole library, which knows data sets
        digits = load_digits()
        self._inputs, self._labels = (
            (digits.calibration_images, digits.calibration_labels) if self.is_train
            else (digits.test_images, digits.test_labels))

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Batch:
        return self._inputs[index], self._labels[index]
