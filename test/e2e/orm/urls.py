"""django-todo under /todo/, as its documentation says."""
from django.urls import include, path

urlpatterns = [path("todo/", include("todo.urls", namespace="todo"))]
