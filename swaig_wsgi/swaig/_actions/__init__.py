"""What a tool may ask the platform to do: functions that return actions, a module a family."""
