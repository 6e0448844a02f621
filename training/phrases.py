"""Greetings, roles and endings around a prompt: those to learn from, and those that only judge what was learned.

No list shares a phrase with the other, nor with those that robustness is measured with (``training.perturb`` and
``training.paraphrase``): whoever learned a phrase by heart is not to be judged by it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phrases:
    """What may stand before and after a prompt."""

    openings: tuple[str, ...]
    endings: tuple[str, ...]


LEARNED = Phrases(
    openings=(
        "Could you help? ",
        "Hey. ",
        "Good morning!\n\n",
        "Question:\n",
        "I need some help with the task below.\n\n",
        "You are an expert. Think before you answer.\n\n",
        "Task: ",
        "Quick one for you: ",
        "Dear assistant,\n",
        "System: be concise and correct.\nUser: ",
        "Here is something I have been working on.\n",
        "Can you do this for me please?\n\n",
        "What do you make of this? ",
        "My teacher asked me how to do the following, and I have no idea where to start.\n",
        "Read carefully and write down only what is asked.\n\n",
        "# Instructions\nWork step by step.\n\n# Input\n",
        "Explain if you must, but give a result.\n",
    ),
    endings=(
        "\n\nThank you!",
        "\nPlease be careful.",
        "\n\nBest regards,\nAlex",
        "\n\nI appreciate it.",
        "\nAnswer:",
        " Please answer.",
        "\n\nCheers",
        "\nTell me the result.",
        "\n\nI need this soon.",
        "\nDo you know how to do that?",
        "\n\nWrite the solution below.",
        "\nWhat would you say, and why?",
        "\n\nThink about it step by step.",
        "\nWhich is it?",
        " Can you find it?",
    ),
)

JUDGED = Phrases(
    openings=(
        "Sorry to bother you again. ",
        "Good evening, one more from our team:\n\n",
        "Act as a patient tutor.\n\n",
        "> forwarded message\n",
        "This came up at work today and nobody was sure. ",
        "Input from a customer follows.\n",
    ),
    endings=(
        "\n\nMany thanks, Sam",
        "\nKeep it short.",
        "\n\nTake your time.",
        " Any ideas?",
        "\n\n(sent via web form)",
    ),
)

# Written by somebody who had seen neither the rules of ``policies.wording`` nor any list here.
CHATTER = Phrases(
    openings=(
        "hey there, quick one for you: ",
        "You are a helpful, knowledgeable assistant. Read the user's message carefully and respond to it.\n\n",
        "<user_query>\n",
        "Hello dear, sorry for my english, I am not native speaker. Please to help me with this: ",
        "it's me again lol, last answer was great btw. next one:\n",
        "---\n\n",
        "pls help!! been stuck on this for like an hour and my coffee is already cold 😭 ",
        "Yo ",
        "[INST] ",
        "Not sure if this is the right place to ask, but here goes... ",
        (
            "Thanks for taking the time. First time using one of these chatbots, so bear with me. "
            "Here's what I wanted to ask:\n\n"
        ),
        (
            "Hope you're having a nice Tuesday! It's pouring rain here and I'm finally getting through my to-do list. "
            "Anyway: "
        ),
    ),
    endings=(
        " thx in advance :)",
        "\n\nSent from my iPhone",
        "\n\n### Response:\n",
        " pls reply soon, i really need it 🙏",
        "\n\n---\n",
        "\n\nAssistant:",
        (
            "\n\nI've been wondering about this all week, "
            "so I'm really looking forward to hearing what you come up with. Cheers, Dave"
        ),
        "\n\n(sorry for any typos, writing this on the bus)",
        "\n\n## Output\nWrite your answer below this line.\n",
        "\n\nPlease let me know. Much obliged.\n\n--\nGet Outlook for Android",
        (
            "\n\nPlease be careful and double-check before you reply, "
            "since I will be sharing this with my manager later today."
        ),
        " go!",
    ),
)
