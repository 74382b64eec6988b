"""What stands in a slider's field is a number between its ends, or its first one."""

import gradio as gr
import pytest

from serve_app.sliders import allow_empty_sliders


@pytest.fixture
def slider():
    allow_empty_sliders()
    return gr.Slider(0, 1, value=0.5, label="Opacity")


def test_a_number_that_is_deleted_is_the_first_one(slider):
    assert slider.preprocess(None) == 0.5


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1, 2])
def test_what_lies_between_no_two_ends_is_an_error(slider, number):
    with pytest.raises(gr.Error):
        slider.preprocess(number)
