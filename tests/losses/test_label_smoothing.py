from divreg.losses import label_smoothing


def test_a_tenth_of_the_target_is_uniform(oracle, exactly):
    value, gradient = oracle(label_smoothing, strength=0.1)
    assert value == exactly(1.490190)
    assert gradient == exactly([0.618914, -0.688117, 0.062144, 0.007059])


def test_at_one_nothing_of_the_data_is_left(oracle, exactly):
    _, gradient = oracle(label_smoothing, strength=1.0)
    assert gradient == exactly([0.393914, -0.013117, -0.162856, -0.217941])
