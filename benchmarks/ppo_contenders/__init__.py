"""What `ppo_speed.py` compares. Only what is built on Ray or on Stable-Baselines3 imports it."""

from ppo_contenders.process import Measured, Process
from ppo_contenders.setting import Clock, Setting, Spent

__all__ = ["Clock", "Measured", "Process", "Setting", "Spent"]
