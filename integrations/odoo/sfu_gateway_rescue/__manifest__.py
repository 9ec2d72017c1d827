{
    "name": "SFU gateway: rescue of calls",
    "summary": "Moves running calls to another SFU when the SFU gateway says that theirs is gone",
    "version": "1.0.0",
    "category": "Productivity/Discuss",
    "author": "SFU gateway",
    "license": "LGPL-3",
    "depends": ["mail"],
}
