"""Chat templates modeled on those of real families, each with its special tokens and the expected result."""

from dataclasses import dataclass, field

from core.models.chat_template import ChatTemplate

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are "
    "a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}{{- messages[0]['content'] }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN3 = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and not ns.found %}
        {%- set ns.found = true %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if loop.index0 > ns.last_query_index %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("
    "'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and "
    "system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
    "message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + "
    "content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA32 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
    "eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
VICUNA = (
    "{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] | trim + ' ' %}{% set messages "
    "= messages[1:] %}{% else %}{% set system_message = 'A chat between a curious user and an artificial intelligence "
    "assistant. ' %}{% endif %}{{ bos_token + system_message }}{% for message in messages %}{% if message['role'] == "
    "'user' %}{{ 'USER: ' + message['content'] | trim + ' ' }}{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' + "
    "message['content'] | trim + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}"
    "{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if "
    "message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' "
    "%}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}"
)
R1 = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = "
    "namespace(system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set "
    "ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in "
    "messages %}{%- if message['role'] == 'user' %}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if "
    "message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if "
    "'</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + "
    "'<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}{% if add_generation_prompt %}{{'<｜Assistant｜><think>\\n'}}"
    "{% endif %}"
)
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("
    "'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == "
    "'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + "
    "role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{'<start_of_turn>model\n'}}{% endif %}"
)
PHI3 = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + "
    "'<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif "
    "message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
GLM4 = (
    "[gMASK]<sop>{% for item in messages %}{% if item['role'] == 'user' %}<|user|>\n{{ item['content'] }}{% elif "
    "item['role'] == 'system' %}<|system|>\n{{ item['content'] }}{% elif item['role'] == 'assistant' %}<|assistant|>\n"
    "{{ item['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CHATGLM2 = (
    "{% for message in messages %}{% if loop.first %}[gMASK]sop{% endif %}{% if message['role'] == 'user' %}[Round "
    "{{ loop.index0 // 2 + 1 }}]\n\n问：{{ message['content'] }}\n\n答：{% else %}{{ message['content'] }}\n\n{% endif %}"
    "{% endfor %}"
)
MINICPM = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{'<用户>' + message['content'].strip() + '<AI>'}}"
    "{% else %}{{message['content'].strip()}}{% endif %}{% endfor %}"
)
BAICHUAN2 = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}{% elif message['role'] == "
    "'user' %}{{ '<reserved_106>' + message['content'] }}{% elif message['role'] == 'assistant' %}{{ '<reserved_107>' + "
    "message['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<reserved_107>' }}{% endif %}"
)
DEEPSEEK = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ bos_token }}"
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n\n' }}{% elif "
    "message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}{% elif message['role'] == "
    "'system' %}{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}"
    "{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A template and the expected result: XTuner's name, or the parts of a derived one."""

    template: str | None
    bos: str = ""
    eos: str = ""
    tokens: tuple[str, ...] = ()
    kind: str = ""
    gives: str = "derived"
    name: str | None = None
    parts: dict[str, object] = field(default_factory=dict)
    default: str = ""
    thinking: str = ""
    system: bool = True
    rounds: bool = True

    def own(self) -> ChatTemplate:
        special = {"bos_token": self.bos, "eos_token": self.eos}
        named = {role: token for role, token in special.items() if token}
        return ChatTemplate(text=self.template, special=named, tokens=frozenset({*self.tokens, *named.values()}))


def chatml(template: str, **more: object) -> Family:
    return Family(**{"template": template, "tokens": ("<|im_start|>", "<|im_end|>"), "gives": "named", **more})


_IM = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
FAMILIES = {
    "internlm2": chatml("{{ bos_token }}" + CHATML, bos="<s>", eos="</s>", kind="internlm2", name="internlm2_chat"),
    "yi": chatml(CHATML, bos="<|startoftext|>", eos="<|im_end|>", tokens=_IM, kind="llama", name="qwen_chat"),
    "qwen2.5": chatml(QWEN25, eos="<|im_end|>", tokens=_IM, kind="qwen2", name="qwen_chat", default=_QWEN),
    "qwen2.5 base": chatml(QWEN25, eos="<|endoftext|>", tokens=_IM, kind="qwen2", name="qwen_chat", default=_QWEN),
    "qwen3": chatml(QWEN3, eos="<|im_end|>", tokens=_IM, kind="qwen3", name="qwen_chat"),
    "minicpm3": chatml(CHATML, bos="<s>", eos="<|im_end|>", tokens=_IM, kind="minicpm3", name="minicpm3"),
    "smollm2": chatml(
        SMOLLM2,
        bos="<|im_start|>",
        eos="<|im_end|>",
        tokens=_IM,
        kind="llama",
        name="qwen_chat",
        default="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    ),
    "llama 3": Family(
        template=LLAMA3,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        tokens=("<|start_header_id|>", "<|end_header_id|>"),
        kind="llama",
        gives="named",
        name="llama3_chat",
    ),
    "llama 3.2": Family(
        template=LLAMA32,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        tokens=("<|start_header_id|>", "<|end_header_id|>"),
        kind="llama",
        gives="named",
        name="llama3_chat",
        default="Cutting Knowledge Date: December 2023\nToday Date: …",
    ),
    "phi 3": Family(
        template=PHI3,
        bos="<s>",
        eos="<|endoftext|>",
        tokens=("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        kind="phi3",
        gives="named",
        name="phi3_chat",
    ),
    "llama 2": Family(
        template=LLAMA2,
        bos="<s>",
        eos="</s>",
        parts={"INSTRUCTION": "[INST] {input} [/INST]", "SUFFIX": " </s>", "SEP": "<s>", "STOP_WORDS": ["</s>"]},
        system=False,
    ),
    "mistral": Family(
        template=MISTRAL,
        bos="<s>",
        eos="</s>",
        parts={"INSTRUCTION": "[INST] {input} [/INST]", "SUFFIX": "</s>", "SEP": "", "STOP_WORDS": ["</s>"]},
        system=False,
    ),
    "tinyllama": Family(
        template=ZEPHYR,
        bos="<s>",
        eos="</s>",
        parts={
            "SYSTEM": "<|system|>\n{system}</s>\n",
            "INSTRUCTION": "<|user|>\n{input}</s>\n<|assistant|>\n",
            "SUFFIX": "</s>",
            "SEP": "\n",
            "STOP_WORDS": ["</s>"],
        },
    ),
    "vicuna": Family(
        template=VICUNA,
        bos="<s>",
        eos="</s>",
        parts={
            "SYSTEM": "{system} ",
            "INSTRUCTION": "USER: {input} ASSISTANT:",
            "SUFFIX": "</s>",
            "SEP": "",
            "STOP_WORDS": ["</s>"],
        },
        default="A chat between a curious user and an artificial intelligence assistant.",
    ),
    "deepseek r1": Family(
        template=R1,
        bos="<｜begin▁of▁sentence｜>",
        eos="<｜end▁of▁sentence｜>",
        tokens=("<｜User｜>", "<｜Assistant｜>"),
        kind="qwen2",
        parts={
            "SYSTEM": "{system}",
            "INSTRUCTION": "<｜User｜>{input}<｜Assistant｜>",
            "SUFFIX": "<｜end▁of▁sentence｜>",
            "SEP": "",
        },
        thinking="<think>\n",
    ),
    "deepseek 2": Family(
        template=DEEPSEEK,
        bos="<｜begin▁of▁sentence｜>",
        eos="<｜end▁of▁sentence｜>",
        kind="deepseek_v2",
        # XTuner's own ends with a space, while the model's answer begins with it.
        parts={
            "SYSTEM": "{system}\n\n",
            "INSTRUCTION": "User: {input}\n\nAssistant:",
            "SUFFIX": "<｜end▁of▁sentence｜>",
        },
    ),
    "gemma 2": Family(
        template=GEMMA2,
        bos="<bos>",
        eos="<eos>",
        tokens=("<start_of_turn>", "<end_of_turn>"),
        kind="gemma2",
        # XTuner's own also puts <eos> and <bos> between the turns.
        parts={
            "INSTRUCTION": "<start_of_turn>user\n{input}<end_of_turn>\n<start_of_turn>model\n",
            "SUFFIX": "<end_of_turn>",
            "SEP": "\n",
            "STOP_WORDS": ["<end_of_turn>"],
        },
        system=False,
    ),
    "glm 4": Family(
        template=GLM4,
        eos="<|endoftext|>",
        tokens=("<|user|>", "<|assistant|>", "<|system|>", "[gMASK]", "<sop>"),
        parts={
            "SYSTEM": "<|system|>\n{system}",
            "INSTRUCTION": "<|user|>\n{input}<|assistant|>\n",
            "SUFFIX": "<|endoftext|>",
            "STOP_WORDS": ["<|endoftext|>", "<|user|>"],
        },
        rounds=False,
    ),
    "chatglm 2": Family(
        template=CHATGLM2,
        eos="</s>",
        parts={"INSTRUCTION": "[Round {round}]\n\n问：{input}\n\n答：", "SUFFIX": "</s>", "SEP": "\n\n"},
        rounds=False,
    ),
    "minicpm": Family(
        template=MINICPM,
        bos="<s>",
        eos="</s>",
        kind="minicpm",
        parts={"SYSTEM": "{system}", "INSTRUCTION": "<用户>{input}<AI>", "SUFFIX": "</s>", "STOP_WORDS": ["</s>"]},
        rounds=False,
    ),
    "baichuan 2": Family(
        template=BAICHUAN2,
        bos="<s>",
        eos="</s>",
        tokens=("<reserved_106>", "<reserved_107>"),
        kind="baichuan",
        parts={
            "INSTRUCTION": "<reserved_106>{input}<reserved_107>",
            "SUFFIX": "</s>",
            "STOP_WORDS": ["</s>", "<reserved_106>"],
        },
        rounds=False,
    ),
    "baichuan 2 without a template": Family(
        template=None,
        bos="<s>",
        eos="</s>",
        tokens=("<reserved_106>", "<reserved_107>"),
        kind="baichuan",
        gives="base",
        name="baichuan2_chat",
    ),
    "a base with ChatML's tokens": Family(
        template=None, eos="<|endoftext|>", tokens=_IM, kind="olmo", gives="base", name="qwen_chat"
    ),
    "a base": Family(template=None, bos="<s>", eos="</s>", kind="llama", gives="base", name="default"),
}
