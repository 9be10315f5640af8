"""Uses django-todo as its users do, through its own views and models, and writes what it did.

Prints one JSON object: tasks, a list of [type, title] for each task by its id, in the order of the
changes; undone, titles that must never be seen. It knows nothing of todo_events.
"""
import datetime
import io
import json
import logging
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django  # noqa: E402

django.setup()
logging.disable(logging.WARNING)

from django.contrib.auth.models import Group, User  # noqa: E402
from django.db import transaction  # noqa: E402
from django.test import Client  # noqa: E402
from todo.models import Comment, Task, TaskList  # noqa: E402

tasks = {}
owners = {}


def did(task, change, title):
    """What was committed: for a task (or its id) a change, and the title it then has."""
    number = str(getattr(task, "id", task))
    tasks.setdefault(number, []).append([change, title])


def post(client, path, data, status=302):
    response = client.post("/todo/" + path, data)
    if response.status_code != status:
        raise SystemExit("POST %s: %d\n%s" % (path, response.status_code, response.content.decode()))
    return response


def edit(client, task, **changes):
    form = {
        "add_edit_task": "1", "title": task.title, "task_list": task.task_list_id, "note": task.note or "",
        "priority": task.priority or "", "created_date": task.created_date,
        "assigned_to": [u.id for u in task.assigned_to.all()],
    }
    if task.due_date:
        form["due_date"] = task.due_date
    if task.completed:
        form.update(completed="on", completed_date=task.completed_date)
    form.update(changes)
    post(client, "task/%d/" % task.id, form)
    task.refresh_from_db()


# ---- people and lists

group = Group.objects.create(name="Workgroup")
users = []
for name in ("ada", "grace", "mary"):
    user = User.objects.create_user(name, name + "@example.com", "secret", is_staff=True)
    user.groups.add(group)
    users.append(user)
clients = []
for user in users:
    client = Client()
    assert client.login(username=user.username, password="secret")
    clients.append(client)
post(clients[0], "add_list/", {"name": "Home", "group": group.id})
post(clients[0], "add_list/", {"name": "Tickets", "group": group.id})
home = TaskList.objects.get(slug="home")
tickets = TaskList.objects.get(slug="tickets")
home_path = "%d/%s/" % (home.id, home.slug)

# ---- through its pages

for i in range(30):
    which = i % 3
    title = "page task %d \u00fc\u4e16\U0001f600 \"quoted\" \\ back" % i
    post(clients[which], home_path, {
        "add_edit_task": "1", "title": title, "task_list": home.id, "note": "note %d\nsecond line" % i,
        "priority": i + 1, "assigned_to": [users[(i + 1) % 3].id], "created_date": "2026-01-0%d" % (i % 9 + 1),
        "due_date": "2030-02-%02d" % (i % 28 + 1)})
    task = Task.objects.get(title=title)
    did(task, "created", title)
    owners[task.id] = users[which].id
    if i % 2 == 0:
        new_title = "edited %d" % i
        edit(clients[which], task, title=new_title, priority=100 + i)
        did(task, "updated", new_title)
    if i % 3 == 0:
        post(clients[which], "toggle_done/%d/" % task.id, {})
        did(task, "completed", Task.objects.get(id=task.id).title)
    if i % 6 == 0:
        post(clients[which], "toggle_done/%d/" % task.id, {})
        did(task, "reopened", Task.objects.get(id=task.id).title)
    if i % 5 == 0:
        # a comment changes no task
        post(clients[which], "task/%d/" % task.id, {"add_comment": "1", "comment-body": "well"}, 200)
    if i % 7 == 0:
        title = Task.objects.get(id=task.id).title
        post(clients[which], "delete/%d/" % task.id, {})
        did(task, "deleted", title)

post(clients[1], "ticket/add/", {"title": "printer on fire", "note": "again", "priority": 1})
task = Task.objects.get(title="printer on fire")
did(task, "created", task.title)

order = list(Task.objects.filter(task_list=home).order_by("-id"))
post(clients[0], "reorder_tasks/", {"tasktable[]": [""] + [t.id for t in order]}, 201)
for i, task in enumerate(order):
    if task.priority != i + 1:
        did(task, "updated", task.title)

header = "Title,Group,Task List,Created By,Created Date,Due Date,Completed,Assigned To,Note,Priority\n"
rows = "".join("csv %d,Workgroup,Tickets,ada,2026-01-01,2030-01-01,No,grace,from csv,%d\n" % (i, i + 1)
               for i in range(10))
for again in range(2):
    upload = io.BytesIO((header + rows).encode())
    upload.name = "tasks.csv"
    post(clients[0], "import_csv/", {"csvfile": upload}, 200)
    if not again:                       # the second time it updates every row to what it is
        for task in Task.objects.filter(title__startswith="csv "):
            did(task, "created", task.title)

# ---- through its models

for i in range(5):
    task = Task.objects.create(title="model %d" % i, task_list=tickets, created_by=users[i % 3])
    did(task, "created", task.title)
    task.save()                         # writes every column again: no change, so no event
    task.note = "a note"
    task.save()
    did(task, "updated", task.title)

made = Task.objects.bulk_create(
    [Task(title="bulk %d" % i, task_list=tickets, created_by=users[0]) for i in range(50)])
for task in made:
    did(task, "created", task.title)
Task.objects.filter(id__in=[t.id for t in made[:20]]).update(due_date=datetime.date(2031, 1, 1))
for task in made[:20]:
    did(task, "updated", task.title)
Task.objects.filter(id__in=[t.id for t in made[20:30]]).delete()
for task in made[20:30]:
    did(task, "deleted", task.title)

with transaction.atomic():
    kept = Task.objects.create(title="kept", task_list=tickets, created_by=users[0])
    try:
        with transaction.atomic():
            Task.objects.create(title="UNDONE inside", task_list=tickets, created_by=users[0])
            Task.objects.filter(task_list=tickets).update(title="UNDONE inside")
            raise ValueError
    except ValueError:
        pass
    kept.priority = 7
    kept.save()
did(kept, "created", "kept")
did(kept, "updated", "kept")

try:
    with transaction.atomic():
        Task.objects.create(title="UNDONE outside", task_list=tickets, created_by=users[0])
        Task.objects.filter(task_list=home).delete()
        raise ValueError
except ValueError:
    pass

# another creator: one event for each
task = Task.objects.create(title="handed over", task_list=tickets, created_by=users[0])
did(task, "created", task.title)
task.created_by = users[1]
task.save()
did(task, "unassigned", None)
did(task, "updated", task.title)

# merging locks, moves the comments and deletes
Comment.objects.create(author=users[0], task=made[0], body="moves along")
made[0].merge_into(made[1])
did([number for number in tasks if tasks[number][0][1] == "bulk 0"][0], "deleted", "bulk 0")

# a whole list goes, with its tasks
doomed = list(Task.objects.filter(task_list=home))
post(clients[0], home_path + "delete/", {})
for task in doomed:
    did(task, "deleted", task.title)
assert not Task.objects.filter(task_list_id=home.id).exists()

json.dump({"tasks": tasks, "owners": owners, "undone": "UNDONE"}, sys.stdout)
