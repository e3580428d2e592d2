"""More ways to tell the things of `memories`, and to ask for them; only training shows these."""

# ruff: noqa: E501 (a phrasing is read more easily on one line)

from __future__ import annotations

FURTHER: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "name": (
        ("I'm {value}.", "i'm {value} btw", "My friends call me {value}.", "You can call me {value}.", "It's me, {value}.", "This is {value} speaking.", "I go by {value}.", "Good morning, I am {value}.", "The name's {value}.", "Let me introduce myself: {value}.", "By the way, I'm {value}.", "You are talking to {value}."),
        ("Who am I again?", "what's my name again", "Do you know who I am?", "Tell me my name.", "And my name?", "Could you say my name?", "Can you remember who I am?", "I told you my name. What is it?", "By what name do I go?", "What did I say my name was?", "Who are you talking to?", "What should you call me?"),
    ),
    "town": (
        ("I'm based in {value}.", "I've lived in {value} for years.", "Home for me is {value}.", "We live in {value}.", "i live in {value}", "My house is in {value}.", "I am at home in {value}.", "These days I live in {value}.", "I'm writing to you from my flat in {value}.", "By the way, I live in {value}."),
        ("Where am I based?", "Where is my house?", "Where am I at home?", "What town do I live in?", "where do i live again?", "Which town did I say I live in?", "Do you know where I live?", "Can you tell me where I live?", "In which city is my flat?", "Tell me where I live."),
    ),
    "number": (
        ("Here is a number for you: {value}.", "Please note the number {value}.", "My number today is {value}.", "number: {value}", "I picked the number {value}.", "Don't forget the number {value}.", "Let's say the number is {value}.", "I'm thinking of {value}.", "Store the number {value}, please."),
        ("What's the number?", "number again?", "Do you remember the number?", "Can you give me the number?", "Which number was it?", "Repeat the number, please.", "And the number was?", "Could you tell me the number I gave you?", "I forgot the number."),
    ),
    "code": (
        ("My access code is {value}.", "The secret code: {value}.", "Keep the code {value} for me.", "code = {value}", "I was given the code {value}.", "Don't lose this code: {value}.", "You'll need the code {value}.", "By the way, the code is {value}.", "The code they sent me is {value}."),
        ("What's the code?", "code please", "Which code did I give you?", "Do you still have the code?", "Please repeat the code.", "I need the code again.", "What code did I tell you?", "And the code was?", "Could you look up the code for me?"),
    ),
    "pet": (
        ("We have a {pet}, {value}.", "The name of my {pet} is {value}.", "I call my {pet} {value}.", "My {pet} goes by {value}.", "I got a {pet} and named it {value}.", "There's a {pet} in our home called {value}.", "my {pet} is {value}", "{value} is what I call my {pet}."),
        ("What do I call my {pet}?", "My {pet}'s name?", "Tell me the name of my {pet}.", "Do you remember my {pet}'s name?", "What name does my {pet} have?", "What did I name my {pet}?", "How did I call my {pet}?", "Which name did I give my {pet}?"),
    ),
    "item": (
        ("I finally bought a {value}.", "My aunt gave me a {value}.", "Guess what, I got a {value}!", "I came home with a {value}.", "At the market I got a {value}.", "I just got myself a {value}.", "Somebody sent me a {value}."),
        ("What did I tell you I got?", "Do you remember what I got?", "What thing did I get?", "What was it that I got?", "Tell me what I got.", "What have I got, do you remember?", "Which thing was it that I got?"),
    ),
    "colour": (
        ("I love {value}.", "The colour I like is {value}.", "{value} is my favourite colour.", "Of all colours I prefer {value}.", "I always wear {value}.", "For me the best colour is {value}.", "My colour is {value}."),
        ("Which colour do I prefer?", "My favourite colour?", "What's my colour?", "Do you remember my favourite colour?", "Tell me which colour I like.", "Which colour is my favourite?", "What colour did I say I like?"),
    ),
    "job": (
        ("I'm a {value} by trade.", "I am working as a {value}.", "I earn my living as a {value}.", "My profession is {value}.", "I've been a {value} for years.", "At work I am a {value}.", "I became a {value}."),
        ("What is my profession?", "What's my work?", "What kind of work do I do?", "Tell me my job.", "Do you remember my job?", "As what do I work?", "What am I by trade?", "What did I say my job was?"),
    ),
    "age": (
        ("I'm {value} years old.", "I am {value}.", "I'll soon be older, but now I am {value}.", "i am {value} years old", "I was born {value} years ago.", "At the age of {value}, I still learn.", "My age: {value}"),
        ("How old did I say I am?", "What's my age?", "my age?", "How many years old am I?", "Do you know my age?", "Can you tell how old I am?", "Which age did I tell you?"),
    ),
    "food": (
        ("I can't live without {value}.", "I like to eat {value}.", "There's nothing like {value}.", "For me nothing beats {value}.", "I eat {value} whenever I can.", "The food I like best is {value}.", "Give me {value} and I'm happy."),
        ("What do I like best to eat?", "What food do I like?", "My favourite food?", "Which food do I like best?", "What do I love to eat?", "What makes me happy when I eat it?", "Do you remember what I like to eat?"),
    ),
    "leaving": (
        ("My trip starts on {value}.", "I'm leaving on {value}.", "I'll be off on {value}.", "On {value} I go on holiday.", "We leave on {value}.", "I am going away on {value}.", "My journey begins on {value}."),
        ("When does my trip start?", "On what day do I leave?", "When am I leaving?", "Which day do I leave?", "When do I go on holiday?", "Tell me when I leave.", "What day did I say I leave?"),
    ),
    "birthplace": (
        ("I come from {value}, I was born there.", "I was born and raised in {value}.", "{value} is my birthplace.", "My mother had me in {value}.", "I am from {value} originally, born there.", "As a child I lived in {value}, where I was born."),
        ("What's my birthplace?", "Which city was I born in?", "In what town was I born?", "Do you remember where I was born?", "Where did my mother have me?", "Tell me where I was born."),
    ),
    "kin": (
        ("My {relative}'s called {value}.", "The name of my {relative} is {value}.", "I have a {relative}, {value}.", "This is about my {relative}, {value}.", "{value} is the name of my {relative}.", "my {relative} is {value}", "Have I told you of my {relative} {value}?"),
        ("What's my {relative}'s name?", "Tell me the name of my {relative}.", "my {relative}'s name?", "Which name does my {relative} have?", "Do you remember my {relative}'s name?", "What do we call my {relative}?", "And my {relative}, who is that?"),
    ),
    "boss": (
        ("The boss where I work is {value}.", "At work I report to {value}.", "My new boss is {value}.", "I've got a boss called {value}.", "{value} runs the place where I work.", "I take orders from {value}.", "my boss is {value}"),
        ("What's my boss's name?", "Who's my boss?", "Who do I report to?", "Tell me who my boss is.", "Do you remember my boss?", "Who do I take orders from?", "And my boss is?"),
    ),
    "hour": (
        ("I need to be gone by {value}.", "I have to go at {value}.", "At {value} I must leave.", "My ride comes at {value}.", "I am off at {value}.", "I've got to be out at {value}.", "I leave at {value} sharp."),
        ("When must I go?", "What time do I leave?", "At which hour do I have to go?", "Until when can I stay?", "Tell me when I have to leave.", "By what time must I be gone?"),
    ),
    "place": (
        ("The keys are in the {value}.", "My keys lie in the {value}.", "I forgot my keys in the {value}.", "You'll find my keys in the {value}.", "I dropped my keys in the {value}.", "I keep my keys in the {value}."),
        ("Where did I put my keys?", "Where do my keys lie?", "My keys, where are they?", "Do you know where my keys are?", "Where can I find my keys?", "In which place did I leave my keys?", "I can't find my keys. Where are they?"),
    ),
    "flight": (
        ("I'm taking flight {value}.", "The flight I booked is {value}.", "My flight number is {value}.", "We're on {value}.", "My plane is {value}.", "Tomorrow I take flight {value}.", "I'm booked on {value}."),
        ("What flight am I on?", "What's my flight?", "Which flight did I book?", "My flight number?", "What flight did I say?", "Tell me my flight.", "Do you remember my flight number?"),
    ),
    "money": (
        ("I've got {value} euros to spend.", "There are {value} euros left for me.", "I want to spend {value} euros at most.", "My limit is {value} euros.", "I put {value} euros aside.", "I can pay up to {value} euros."),
        ("How many euros can I spend?", "What's my budget?", "How much money did I say I have?", "What can I spend at most?", "How much did I put aside?", "How many euros did I tell you?", "My budget?"),
    ),
}  # fmt: skip
"""By thing, in the order of `memories`: statements, and questions."""
